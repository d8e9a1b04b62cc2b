// Compiles only if the types of the JavaScript client agree with those that openapi-typescript generates.
import type * as client from "../../../clients/javascript/src/results.js";
import type { Problem } from "../../../clients/javascript/src/problems.js";
import type * as parameters from "../../../clients/javascript/src/client.js";
import type { components, operations } from "./build/api.js";

type Schemas = components["schemas"];
type OneImage<Response extends { results: unknown[] }, Image> = Omit<Response, "results"> & Image;
type Query<Name extends keyof operations> = NonNullable<operations[Name]["parameters"]["query"]>;
type Sent<Parameters> = Omit<Parameters, "model"> & { model?: string[] };

// What the service sends is what the client returns.
export const answers: [
    (answer: OneImage<Schemas["ClassifyResponse"], Schemas["ClassifiedImage"]>) => client.Classification,
    (answer: Omit<Schemas["CompareResponse"], "results" | "models"> & Schemas["ComparedImage"]) => client.Comparison,
    (answer: OneImage<Schemas["SegmentResponse"], Schemas["SegmentedImage"]>) => client.Segmentation,
    (answer: OneImage<Schemas["DetectResponse"], Schemas["DetectedImage"]>) => client.Detections,
    (answer: OneImage<Schemas["ExplainResponse"], Schemas["ExplainedImage"]>) => client.Explanation,
    (answer: Schemas["ModelSummary"]) => client.Model,
    (answer: Schemas["ModelDetail"]) => client.ModelDetail,
    (answer: Schemas["Problem"]) => Problem,
] = [
    (answer) => answer,
    (answer) => answer,
    (answer) => answer,
    (answer) => answer,
    (answer) => answer,
    (answer) => answer,
    (answer) => answer,
    (answer) => answer,
];

// What the client sends is what the service reads.
export const queries: [
    (query: Sent<parameters.ClassifyParameters>) => Query<"classify">,
    (query: Sent<parameters.SegmentParameters>) => Query<"segment">,
    (query: Sent<parameters.DetectParameters>) => Query<"detect">,
    (query: Sent<parameters.EmbedParameters>) => Query<"embed">,
    (query: Sent<parameters.ExplainParameters>) => Query<"explain">,
] = [(query) => query, (query) => query, (query) => query, (query) => query, (query) => query];

// The client has every parameter.
type Missing<Name extends keyof operations, Parameters> = Exclude<keyof Query<Name>, keyof Parameters>;
export const missing: [
    Missing<"classify", parameters.ClassifyParameters>,
    Missing<"segment", parameters.SegmentParameters>,
    Missing<"detect", parameters.DetectParameters>,
    Exclude<Missing<"embed", parameters.EmbedParameters>, "encoding">,
    Missing<"explain", parameters.ExplainParameters>,
][] = [] satisfies [never, never, never, never, never][];
export const none: [never, never, never, never, never][] = missing;

// Calls a running service with the types that openapi-typescript generated from its description, as a page in a browser
// does, and prints the answers.
import createClient from "openapi-fetch";

import type { components, operations, paths } from "./build/api.js";

type Schemas = components["schemas"];
type Problem = Schemas["Problem"];

declare const process: { argv: string[]; exitCode: number };

function answered<Answer>(outcome: { data?: Answer; error?: Problem }): Answer {
    if (outcome.data === undefined) {
        throw new Error(`${outcome.error?.code}: ${outcome.error?.detail}`);
    }
    return outcome.data;
}

// The members of a response tell its schemas apart: only a comparison has `models`, and only a failed image has `error`.
function predictionsOf(answer: Schemas["ClassifyResponse"] | Schemas["CompareResponse"]): Schemas["Prediction"][] {
    if ("models" in answer) {
        throw new Error("this is a comparison of models");
    }
    const [result] = answer.results;
    if (result === undefined || "error" in result) {
        throw new Error(result?.error.detail ?? "no result");
    }
    return result.predictions;
}

// A member that may be absent is optional, and not null.
function wnidOf(prediction: Schemas["Prediction"] | undefined): string | undefined {
    return prediction?.wnid;
}

async function main(url: string, content: string): Promise<void> {
    // With the media types of JSON, `data` is a document and no image.
    const client = createClient<paths, `application/${string}json`>({ baseUrl: url });
    const image = new Blob([Uint8Array.from(atob(content), (each) => each.charCodeAt(0))], { type: "image/png" });
    const form = new FormData();
    form.append("file", image, "photo.png");

    const models = answered(await client.GET("/v1/models"));
    const query: NonNullable<operations["classify"]["parameters"]["query"]> = { top_k: 2 };
    const uploaded = answered(
        await client.POST("/v1/classify", { params: { query, header: { "Request-Timeout": "30" } }, body: form }),
    );
    const raw = answered(
        await client.POST("/v1/classify", {
            body: image,
            bodySerializer: (body) => body as Blob,
            headers: { "Content-Type": "image/png" },
        }),
    );
    const json: Schemas["ImagesBody"] = { images: [{ content }] };
    const segmented = answered(await client.POST("/v1/segment", { body: json }));
    const mask = await client.POST("/v1/segment", { body: form, headers: { Accept: "image/png" }, parseAs: "blob" });
    const maskType: string | undefined = mask.data?.type;
    const rejected = await client.POST("/v1/classify", { params: { query: { model: ["no-such"] } }, body: form });

    const best = predictionsOf(raw);
    const outcomes = { uploaded: predictionsOf(uploaded), raw: best, wnid: wnidOf(best[0]), maskType };
    console.log(JSON.stringify({ models, segmented, problem: rejected.error, ...outcomes }));
}

await main(process.argv[2] ?? "", process.argv[3] ?? "");

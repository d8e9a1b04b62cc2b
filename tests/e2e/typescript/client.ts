// Calls a running service with the types that openapi-typescript generated from its description, and prints the answers.
import createClient from "openapi-fetch";

import type { components, paths } from "./build/api.js";

type Problem = components["schemas"]["Problem"];

declare const process: { argv: string[]; exitCode: number };

function answered<Answer>(outcome: { data?: Answer; error?: Problem }): Answer {
    if (outcome.data === undefined) {
        throw new Error(`${outcome.error?.code}: ${outcome.error?.detail}`);
    }
    return outcome.data;
}

async function main(url: string, content: string): Promise<void> {
    const client = createClient<paths>({ baseUrl: url });
    const images = [{ content }];

    const models = answered(await client.GET("/v1/models"));
    const classified = answered(
        await client.POST("/v1/classify", {
            params: { query: { top_k: 2 }, header: { "Request-Timeout": "30" } },
            body: { images },
        }),
    );
    const segmented = answered(await client.POST("/v1/segment", { body: { images } }));
    const rejected = await client.POST("/v1/classify", { params: { query: { model: ["no-such"] } }, body: { images } });
    const raw = answered(
        await client.POST("/v1/classify", {
            body: content,
            bodySerializer: (text) => Uint8Array.from(atob(String(text)), (each) => each.charCodeAt(0)),
            headers: { "Content-Type": "image/png" },
        }),
    );

    console.log(JSON.stringify({ models, classified, segmented, raw, problem: rejected.error }));
}

await main(process.argv[2] ?? "", process.argv[3] ?? "");

// Write the request that the page made as code to copy.

import { addressOf } from "./service.js";

/**
 * @typedef {object} Call
 * @property {import("./tasks.js").Endpoint} endpoint
 * @property {URLSearchParams} query
 * @property {string[]} names of the files
 * @property {boolean} hasKey
 */
/** @typedef {{ title: string, language: string, write: (call: Call) => string }} Snippet */

/** @type {readonly Snippet[]} */
export const SNIPPETS = [
  { title: "curl", language: "sh", write: curl },
  { title: "fetch", language: "js", write: javascript },
  { title: "Python", language: "py", write: python },
  { title: "TypeScript", language: "ts", write: typescript },
];

/** @param {Call} call */
function curl({ endpoint, query, names, hasKey }) {
  const files = names.map((name) => `-F ${quoteForShell(`file=@${quoteForForm(name)}`)}`);
  const key = hasKey ? [`-H "Authorization: Bearer $API_KEY"`] : [];
  return ["curl", ...key, ...files, quoteForShell(addressOf(endpoint.path, query))].join(" \\\n  ");
}

/** @param {Call} call */
function javascript({ endpoint, query, hasKey }) {
  return `// files: those of an <input type="file" multiple>
async function ${endpoint.name}(files${hasKey ? ", apiKey" : ""}) {
  const form = new FormData();
  for (const file of files) form.append("file", file);
${fetchLines(endpoint, query, hasKey)}
  const answer = await response.json();
  if (!response.ok) throw new Error(\`\${answer.code}: \${answer.detail}\`);
  return answer.results;
}`;
}

/** @param {Call} call */
function typescript({ endpoint, query, hasKey }) {
  const blocks = query.getAll("model").length > 1;
  const member = blocks ? "models" : endpoint.member;
  return `// Complete types: npx openapi-typescript ${addressOf("openapi.json")} -o api.d.ts
interface Problem { code: string; title: string; status: number; detail: string }
interface Result { index: number; error?: Problem; ${member}?: ${SHAPES[member]} }

export async function ${endpoint.name}(files: Iterable<File>${hasKey ? ", apiKey: string" : ""}): Promise<Result[]> {
  const form = new FormData();
  for (const file of files) form.append("file", file);
${fetchLines(endpoint, query, hasKey)}
  if (!response.ok) {
    const problem = (await response.json()) as Problem;
    throw new Error(\`\${problem.code}: \${problem.detail}\`);
  }
  return ((await response.json()) as { results: Result[] }).results;
}`;
}

/** The TypeScript type of each member of a result that the examples name. @type {Record<string, string>} */
const SHAPES = {
  predictions: "{ label: string; class_id: number; score: number }[]",
  models: "{ model: { name: string }; predictions?: { label: string; class_id: number; score: number }[] }[]",
  segments: "{ label: string; class_id: number; color: string; share: number }[]",
  detections: "{ label: string; class_id: number; score: number; bbox: [number, number, number, number] }[]",
  explanations: "{ label: string; class_id: number; score: number; map: number[][] }[]",
  embedding: "{ encoding: string; dimensions: number; data: string }",
};

/** @param {Call} call */
function python({ endpoint, query, names, hasKey }) {
  const files = names.map((name) => `    ("file", open(${JSON.stringify(name)}, "rb")),`).join("\n");
  const member = query.getAll("model").length > 1 ? "models" : endpoint.member;
  const headers = hasKey ? `    headers={"Authorization": f"Bearer {os.environ['API_KEY']}"},\n` : "";
  return `# pip install requests
${hasKey ? "import os\n\n" : ""}import requests

files = [
${files}
]
response = requests.post(
    ${JSON.stringify(addressOf(endpoint.path, query))},
${headers}    files=files,
    timeout=60,
)
answer = response.json()
if not response.ok:
    raise SystemExit(f"{answer['code']}: {answer['detail']}")
for result in answer["results"]:
    print(result["filename"], result.get("${member}", result.get("error")))`;
}

/**
 * @param {import("./tasks.js").Endpoint} endpoint
 * @param {URLSearchParams} query
 * @param {boolean} hasKey
 */
function fetchLines(endpoint, query, hasKey) {
  const key = hasKey ? `\n    headers: { Authorization: "Bearer " + apiKey },` : "";
  return `  const response = await fetch(${JSON.stringify(addressOf(endpoint.path, query))}, {
    method: "POST",${key}
    body: form,
  });`;
}

/**
 * Return a word that a POSIX shell reads as this text.
 * @param {string} text
 */
export function quoteForShell(text) {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/**
 * Return a file name as `curl -F` reads it: a comma or a semicolon would end it.
 * @param {string} name
 */
function quoteForForm(name) {
  return /[,;"\\]/.test(name) ? `"${name.replace(/["\\]/g, "\\$&")}"` : name;
}

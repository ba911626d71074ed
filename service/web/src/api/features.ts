/** What this server can do, read from its published contract. */

import type { Client } from "./client";

export interface Features {
  /** Options of a transcription, by name, with the values that are allowed where they are named. */
  options: ReadonlyMap<string, readonly string[] | null>;
  formats: readonly string[];
  /** Query parameters of `POST /v1/exports`; null where the server has no such route. */
  exportOptions: ReadonlySet<string> | null;
  hasJobs: boolean;
}

interface Schema {
  properties?: Record<string, Schema>;
  enum?: string[];
  items?: Schema;
}
interface Operation {
  parameters?: { name: string }[];
  requestBody?: { content?: Record<string, { schema?: Schema }> };
}
type Contract = { paths: Record<string, Record<string, Operation>> };

export function readFeatures(contract: Contract): Features {
  const form = contract.paths["/v1/transcriptions"]?.post?.requestBody?.content?.["multipart/form-data"]?.schema;
  const options = new Map(
    Object.entries(form?.properties ?? {}).map(([name, schema]) => [name, schema.enum ?? schema.items?.enum ?? null]),
  );
  const exports = contract.paths["/v1/exports"]?.post;
  return {
    options,
    formats: options.get("response_format") ?? ["json", "midi"],
    exportOptions: exports ? new Set((exports.parameters ?? []).map(({ name }) => name)) : null,
    hasJobs: "/v1/jobs" in contract.paths,
  };
}

export async function loadFeatures(client: Client): Promise<Features> {
  return readFeatures(await client.json<Contract>("openapi.json"));
}

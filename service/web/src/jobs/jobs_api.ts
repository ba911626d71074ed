/** Jobs: several recordings, transcribed in the background and kept by the server for a while. */

import type { Client } from "../api/client";
import { ProblemError } from "../api/problem";
import { appendOptions, type Options } from "../api/stream";
import type { Job, JobItem, Page, Transcription } from "../api/types";
import { upload } from "../api/upload";

export async function submitJob(
  client: Client, files: readonly File[], options: Options, signal: AbortSignal, onSent: (fraction: number) => void,
): Promise<Job> {
  const form = new FormData();
  appendOptions(form, options);
  form.append("metadata", JSON.stringify({ title: jobTitle(files.map((file) => file.name)) }));
  for (const file of files) form.append("file", file);
  return JSON.parse(await upload(client, "v1/jobs", form, signal, { onSent })) as Job;
}

export function getJob(client: Client, id: string): Promise<Job> {
  return client.json<Job>(`v1/jobs/${encodeURIComponent(id)}`);
}

export async function listJobs(client: Client): Promise<Job[]> {
  return (await client.json<Page<Job>>("v1/jobs?limit=20")).data;
}

export async function listItems(client: Client, id: string): Promise<JobItem[]> {
  return (await client.json<Page<JobItem>>(`v1/jobs/${encodeURIComponent(id)}/items?limit=1000`)).data;
}

export async function actOnJob(client: Client, id: string, action: "cancel" | "retry"): Promise<void> {
  await client.fetch(`v1/jobs/${encodeURIComponent(id)}/${action}`, { method: "POST" });
}

export async function deleteJob(client: Client, id: string): Promise<void> {
  await client.fetch(`v1/jobs/${encodeURIComponent(id)}`, { method: "DELETE" });
}

export function getResult(client: Client, id: string, number: number): Promise<Transcription> {
  return client.json<Transcription>(`v1/jobs/${encodeURIComponent(id)}/items/${number}/result?response_format=json`);
}

/** @returns null if the server has none, because it fetched the recording from an address. */
export async function getRecording(client: Client, id: string, number: number): Promise<Blob | null> {
  try {
    return await (await client.fetch(`v1/jobs/${encodeURIComponent(id)}/items/${number}/recording`)).blob();
  } catch (error) {
    if (error instanceof ProblemError && error.problem.status === 404) return null;
    throw error;
  }
}

/** @returns the first recording's name, and how many there are besides. */
export function jobTitle(names: readonly string[]): string {
  const others = names.length - 1;
  return others > 0 ? `${names[0] ?? ""} and ${others} more` : (names[0] ?? "");
}

/** The name given at the page, or the number of recordings where a program submitted the job. */
export function titleOf(job: Job): string {
  const { title } = job.metadata;
  const count = job.progress.items_total;
  return typeof title === "string" && title !== "" ? title : `${count} ${count === 1 ? "recording" : "recordings"}`;
}

export function isEnded(job: Pick<Job, "status">): boolean {
  return job.status !== "queued" && job.status !== "processing";
}

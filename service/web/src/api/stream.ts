/** Transcribes a recording and reports its events; continues after a lost connection. */

import type { Client } from "./client";
import { ProblemError } from "./problem";
import { SseParser } from "./sse";
import type { StreamEvent } from "./types";
import { upload } from "./upload";

const LONGEST_PAUSE_MILLISECONDS = 8000;
const ATTEMPTS = 6;

export interface StreamHandlers {
  onSent: (fraction: number) => void;
  onEvent: (event: StreamEvent) => void;
}

class Reader {
  private parser = new SseParser();
  id: string | null = null;
  lastEvent = "";
  isEnded = false;

  constructor(private readonly onEvent: (event: StreamEvent) => void) {}

  reconnected(): void {
    this.parser = new SseParser();
  }

  push(text: string): void {
    for (const { id, data } of this.parser.push(text)) {
      const event = JSON.parse(data) as StreamEvent;
      this.lastEvent = id;
      if (event.type === "transcription.started") this.id = event.id;
      if (event.type === "completed" || event.type === "error") this.isEnded = true;
      this.onEvent(event);
    }
  }
}

/** Options by name; a list is sent as repeated fields. */
export type Options = Record<string, string | string[]>;

export function appendOptions(form: FormData, options: Options): void {
  for (const [name, value] of Object.entries(options))
    for (const each of Array.isArray(value) ? value : [value]) form.append(name, each);
}

export async function streamTranscription(
  client: Client, file: File, options: Options, handlers: StreamHandlers, signal: AbortSignal,
): Promise<void> {
  const form = new FormData();
  // Options first: the server refuses wrong ones before it receives the recording.
  appendOptions(form, { ...options, stream: "true" });
  form.append("file", file);
  const reader = new Reader(handlers.onEvent);
  try {
    await upload(client, "v1/transcriptions", form, signal, {
      onSent: handlers.onSent,
      onText: (text) => reader.push(text),
    });
  } catch (error) {
    // Before the first event, and after the last, there is nothing to continue.
    if (reader.id === null || reader.isEnded || signal.aborted) throw error;
  }
  if (!reader.isEnded && reader.id !== null) await continueStream(client, reader, signal);
}

/** Follows a transcription that runs or has ended, from its first event. */
export async function resumeTranscription(
  client: Client, id: string, onEvent: (event: StreamEvent) => void, signal: AbortSignal,
): Promise<void> {
  const reader = new Reader(onEvent);
  reader.id = id;
  await continueStream(client, reader, signal);
}

async function continueStream(client: Client, reader: Reader, signal: AbortSignal): Promise<void> {
  for (let failures = 0; !reader.isEnded; ) {
    const before = reader.lastEvent;
    try {
      reader.reconnected();
      await readEvents(client, reader, signal);
    } catch (error) {
      const isGone = error instanceof ProblemError && error.problem.status === 404;
      if (reader.isEnded || isGone || signal.aborted) throw error;
      failures = reader.lastEvent === before ? failures + 1 : 1;
      if (failures >= ATTEMPTS) throw error;
      await pause(Math.min(500 * 2 ** failures, LONGEST_PAUSE_MILLISECONDS));
    }
  }
}

async function readEvents(client: Client, reader: Reader, signal: AbortSignal): Promise<void> {
  const headers: Record<string, string> = reader.lastEvent ? { "Last-Event-ID": reader.lastEvent } : {};
  const response = await client.fetch(`v1/transcriptions/${reader.id}/events`, { headers, signal });
  if (response.body === null || response.status === 204) {
    reader.isEnded = true;
    return;
  }
  const pieces = response.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await pieces.read();
    if (done) return;
    reader.push(value);
  }
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

/** Errors of the API as sentences: what happened, and what to do about it. */

import type { Problem } from "./types";

export class ProblemError extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }
}

/** What to do, by the API's stable codes; other codes show the API's own detail. */
const ADVICE: Record<string, string> = {
  audio_undecodable: "This file is not a recording that can be read. Try WAV, MP3, FLAC, M4A or OGG.",
  upload_too_large: "The file is too large for this server. Save it as MP3 or M4A, or shorten it.",
  overloaded: "The server is too busy right now.",
  quota_exceeded: "Your key has reached its limit of waiting work.",
  not_ready: "The server is still loading the model.",
  engine_failure: "The server's device failed. It usually recovers by itself.",
  unauthenticated: "This server requires an API key.",
  forbidden: "Your API key does not allow this.",
  upload_timeout: "The upload stopped. Check the connection and send the file again.",
  stream_not_found: "The server no longer has this transcription. Send the recording again.",
  job_not_found: "The server no longer has this job, or it belongs to another key.",
  jobs_disabled: "This server does not accept jobs, so only one recording at a time can be transcribed.",
  storage_full: "The server's disk is full. Ask its operator.",
  no_storage: "The server's disk is full. Ask its operator.",
  connection_lost: "The server cannot be reached. Check that it is running, and try again.",
};

export function sentence(problem: Problem): string {
  const advice = ADVICE[problem.code];
  const text = advice ?? capitalized(inPageWords(problem.detail || problem.title));
  const wait = problem.retry_after_seconds;
  return wait == null ? text : `${text} Try again in ${waiting(wait)}.`;
}

/** Names of the API's options in its messages, and what the page calls them. */
const WORDS: readonly (readonly [RegExp, string])[] = [
  [/ with tempo=( \(a number, half or double\))?/g, " under “Tempo and bars”"],
  [/ with time_signature= and first_downbeat=/g, " under “Tempo and bars”"],
  [/\btempo=/g, "the tempo"],
  [/\btime_signature=/g, "the meter"],
  [/\bfirst_downbeat=/g, "a bar line"],
  [/\bwith start and end\b/g, "with “From” and “To”"],
  [/^start (?=is )/, "“From” "],
  [/^end (?=is )/, "“To” "],
  [/\bwith audio_track\b/g, "with “Audio track”"],
  [/^audio_track (?=is )/, "“Audio track” "],
];

/** A message of the API for users of the page, who do not see the names of its options. */
export function inPageWords(message: string): string {
  return WORDS.reduce((text, [name, words]) => text.replace(name, words), message);
}

function capitalized(text: string): string {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

function waiting(seconds: number): string {
  if (seconds < 90) return seconds === 1 ? "a second" : `${Math.ceil(seconds)} seconds`;
  return `${Math.ceil(seconds / 60)} minutes`;
}

export function connectionLost(): ProblemError {
  return new ProblemError({ title: "", status: 0, detail: "", code: "connection_lost" });
}

/** Reads the body of a refused request, which may come from a proxy and be anything. */
export function parseProblem(status: number, body: string, retryAfter: string | null): Problem {
  const seconds = retryAfter !== null && /^\d+$/.test(retryAfter) ? Number(retryAfter) : null;
  try {
    const given = JSON.parse(body) as Partial<Problem>;
    if (typeof given.code === "string" && typeof given.detail === "string")
      return { title: "", ...given, status, code: given.code, detail: given.detail, retry_after_seconds: seconds };
  } catch {
    // Not JSON: answered below.
  }
  const detail = `the server answered with status ${status}`;
  return { title: "", status, code: "http_error", detail, retry_after_seconds: seconds };
}

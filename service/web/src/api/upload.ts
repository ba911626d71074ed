/**
 * A POST that reports the progress of its upload and passes on its answer while it arrives.
 *
 * `XMLHttpRequest`, because `fetch` reports no progress of an upload.
 */

import type { Client } from "./client";
import { connectionLost, parseProblem, ProblemError } from "./problem";

export interface UploadHandlers {
  /** @param fraction sent so far, 0 to 1. */
  onSent?: (fraction: number) => void;
  onText?: (text: string) => void;
}

export async function upload(
  client: Client, path: string, body: FormData, signal: AbortSignal, handlers: UploadHandlers = {},
): Promise<string> {
  for (;;) {
    try {
      return await attempt(client, path, body, signal, handlers);
    } catch (error) {
      const refused = error instanceof ProblemError && error.problem.status === 401;
      if (!refused || !(await client.renewKey())) throw error;
    }
  }
}

function attempt(
  client: Client, path: string, body: FormData, signal: AbortSignal, handlers: UploadHandlers,
): Promise<string> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    let read = 0;
    const readMore = (): void => {
      if (request.status < 200 || request.status > 299) return;
      const text = request.responseText.slice(read);
      read += text.length;
      try {
        if (text) handlers.onText?.(text);
      } catch (error) {
        reject(error); // nobody would catch it here, in an event of the request
      }
    };
    request.open("POST", client.url(path));
    for (const [name, value] of Object.entries(client.headers())) request.setRequestHeader(name, value);
    request.upload.onprogress = (event) => handlers.onSent?.(event.loaded / event.total);
    request.onprogress = readMore;
    request.onerror = () => reject(connectionLost());
    request.onabort = () => reject(signal.reason);
    request.onload = () => {
      readMore();
      if (request.status >= 200 && request.status <= 299) resolve(request.responseText);
      else
        reject(new ProblemError(parseProblem(request.status, request.responseText, request.getResponseHeader("Retry-After"))));
    };
    if (signal.aborted) return reject(signal.reason);
    signal.addEventListener("abort", () => request.abort());
    request.send(body);
  });
}

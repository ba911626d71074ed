/** Requests to this page's server: addresses relative to the page, the API key, errors. */

import { connectionLost, parseProblem, ProblemError } from "./problem";

const STORED_KEY = "mt3.key";

export class Client {
  private asking: Promise<string | null> | null = null;

  /** @param askKey asks the user for a key; null if they decline. */
  constructor(private readonly askKey: () => Promise<string | null>) {}

  url(path: string): string {
    return new URL(path.replace(/^\//, ""), document.baseURI).href;
  }

  headers(): Record<string, string> {
    const key = localStorage.getItem(STORED_KEY);
    return key === null ? {} : { Authorization: `Bearer ${key}` };
  }

  /** Sends a request; asks for a key if the server requires one, then tries once more. */
  async fetch(path: string, init: RequestInit = {}): Promise<Response> {
    let response = await this.attempt(path, init);
    while (response.status === 401 && (await this.renewKey())) response = await this.attempt(path, init);
    if (response.ok) return response;
    const body = await response.text();
    throw new ProblemError(parseProblem(response.status, body, response.headers.get("Retry-After")));
  }

  async json<T>(path: string, init: RequestInit = {}): Promise<T> {
    return (await (await this.fetch(path, init)).json()) as T;
  }

  /** Asks for a key, once for all requests that wait for it; false if the user declined. */
  async renewKey(): Promise<boolean> {
    this.asking ??= this.askKey().finally(() => (this.asking = null));
    const key = await this.asking;
    if (key !== null) localStorage.setItem(STORED_KEY, key);
    return key !== null;
  }

  forgetKey(): void {
    localStorage.removeItem(STORED_KEY);
  }

  get hasKey(): boolean {
    return localStorage.getItem(STORED_KEY) !== null;
  }

  private async attempt(path: string, init: RequestInit): Promise<Response> {
    try {
      return await fetch(this.url(path), { ...init, headers: { ...this.headers(), ...init.headers } });
    } catch (error) {
      if (init.signal?.aborted) throw error;
      throw connectionLost();
    }
  }
}

/** The view that the page shows, from the fragment of its address, so that links can be shared. */

export type Route =
  | { view: "start" }
  | { view: "transcription"; id: string }
  | { view: "job"; id: string }
  | { view: "item"; job: string; number: number };

export function parseRoute(fragment: string): Route {
  const parts = new URLSearchParams(fragment.replace(/^#/, ""));
  const job = parts.get("job");
  const number = parts.get("item");
  const id = parts.get("transcription");
  if (job && number !== null && /^\d+$/.test(number)) return { view: "item", job, number: Number(number) };
  if (job) return { view: "job", id: job };
  return id ? { view: "transcription", id } : { view: "start" };
}

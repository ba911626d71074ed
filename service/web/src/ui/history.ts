/** Lists of what was transcribed before: in this browser, and as jobs on the server. */

import type { Job } from "../api/types";
import type { Entry } from "../library";
import { titleOf } from "../jobs/jobs_api";
import { h, iconButton } from "./dom";
import { STATES } from "./job_view";

export function recentList(entries: readonly Entry[], onRemove: (id: string) => void): HTMLElement | null {
  if (entries.length === 0) return null;
  const items = entries.map((entry) =>
    h(
      "li", {},
      h("a", { href: `#transcription=${entry.id}` }, h("b", {}, entry.name), h("span", { className: "quiet" }, describe(entry))),
      iconButton("close", `Forget ${entry.name}`, () => onRemove(entry.id), "icon-button small"),
    ),
  );
  return h("section", { className: "panel" }, h("h2", {}, "In this browser"), h("ul", { className: "recent" }, ...items));
}

function describe(entry: Entry): string {
  const when = new Date(entry.created).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  return entry.transcription === null ? `${when}, running` : `${when}, ${entry.transcription.notes.length.toLocaleString()} notes`;
}

export function jobList(jobs: readonly Job[]): HTMLElement | null {
  if (jobs.length === 0) return null;
  const items = jobs.map((job) => {
    const { items_total, items_succeeded } = job.progress;
    const done = items_total === 1 ? "" : `, ${items_succeeded} of ${items_total} transcribed`;
    const when = new Date(job.created_at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
    return h(
      "li", {},
      h("a", { href: `#job=${job.id}` }, h("b", {}, titleOf(job)), h("span", { className: "quiet" }, when + done)),
      h("span", { className: `state ${job.status}` }, STATES[job.status]),
    );
  });
  return h("section", { className: "panel" }, h("h2", {}, "Jobs on the server"), h("ul", { className: "recent" }, ...items));
}

/** A job: its recordings with their states, and their results. */

import type { Client } from "../api/client";
import { sentence } from "../api/problem";
import type { Job, JobItem } from "../api/types";
import { offeredFormats } from "../export/files";
import { actOnJob, deleteJob, getJob, isEnded, listItems, titleOf } from "../jobs/jobs_api";
import { clock } from "../roll/time_axis";
import { button, h, iconButton, save } from "./dom";
import type { Notices } from "./notices";

const POLL_MILLISECONDS = 1200;
export const STATES: Record<Job["status"], string> = {
  queued: "waiting", processing: "running", succeeded: "done", failed: "failed", canceled: "canceled",
};

export class JobView {
  readonly element = h("section", { className: "job", hidden: true, aria: { label: "Job" } });
  private readonly title = h("h1", { className: "name" });
  private readonly facts = h("p", { className: "quiet facts", role: "status" });
  private readonly bar = h("progress", { max: 1, aria: { label: "Progress of the job" } });
  private readonly rows = h("tbody");
  private readonly actions = h("div", { className: "result-actions" });
  private id: string | null = null;

  constructor(
    private readonly client: Client, private readonly formats: readonly string[], private readonly notices: Notices,
    private readonly onBack: () => void,
  ) {
    const table = h(
      "table", {},
      h("caption", { className: "visually-hidden" }, "Recordings of the job"),
      h("thead", {}, h("tr", {}, ...["Recording", "Length", "State", "Result"].map((name) => h("th", { scope: "col" }, name)))),
      this.rows,
    );
    this.element.append(
      h("header", { className: "work-head" }, iconButton("back", "Back to the start", onBack), h("div", { className: "grow" }, this.title, this.facts), this.actions),
      this.bar, h("div", { className: "table-frame", tabIndex: 0, role: "region", aria: { label: "Recordings of the job" } }, table),
    );
  }

  async show(id: string): Promise<void> {
    this.id = id;
    this.rows.replaceChildren();
    this.actions.replaceChildren();
    this.title.textContent = "Job";
    this.facts.textContent = "";
    while (this.id === id) {
      let job: Job;
      try {
        const [found, items] = await Promise.all([getJob(this.client, id), listItems(this.client, id)]);
        job = found;
        if (this.id !== id) return;
        this.draw(job, items);
      } catch (error) {
        this.notices.error(error);
        return;
      }
      if (isEnded(job)) return;
      await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
    }
  }

  hide(): void {
    this.id = null;
  }

  private draw(job: Job, items: readonly JobItem[]): void {
    const { items_total, items_done, items_succeeded, items_failed } = job.progress;
    this.title.textContent = titleOf(job);
    const failed = items_failed ? `, ${items_failed} failed` : "";
    const wait = job.queue_position ? `, ${job.queue_position} ahead` : "";
    this.facts.textContent = `${STATES[job.status]}: ${items_succeeded} of ${items_total} transcribed${failed}${wait}; kept until ${new Date(job.expires_at).toLocaleString()}`;
    this.bar.value = items_done / Math.max(items_total, 1);
    this.bar.hidden = isEnded(job);
    this.actions.replaceChildren(...this.jobActions(job));
    // Rows are replaced only where they changed, so that the focus stays.
    items.forEach((item, index) => {
      const key = `${item.status} ${item.audio_seconds} ${item.attempts}`;
      const before = this.rows.children[index] as HTMLElement | undefined;
      if (before?.dataset.key === key) return;
      const row = this.row(job, item);
      row.dataset.key = key;
      if (before) before.replaceWith(row);
      else this.rows.append(row);
    });
  }

  private row(job: Job, item: JobItem): HTMLElement {
    const link = `#job=${job.id}&item=${item.number}`;
    const name = item.name ?? `Recording ${item.number + 1}`;
    const why = item.error ? sentence({ ...item.error, title: "", status: 0, detail: item.error.message }) : null;
    return h(
      "tr", {},
      h("td", {}, item.result ? h("a", { href: link }, name) : name, why && h("p", { className: "why" }, why)),
      h("td", {}, item.audio_seconds === null ? "" : clock(item.audio_seconds)),
      h("td", {}, h("span", { className: `state ${item.status}` }, STATES[item.status])),
      h("td", {}, item.result ? h("a", { className: "button small", href: link, aria: { label: `Open ${name}` } }, "Open") : ""),
    );
  }

  private jobActions(job: Job): HTMLElement[] {
    const act = (what: () => Promise<void>): void => void what().catch((error: unknown) => this.notices.error(error));
    const made: HTMLElement[] = [];
    if (!isEnded(job)) made.push(button("Cancel", () => act(() => actOnJob(this.client, job.id, "cancel"))));
    if (isEnded(job) && job.progress.items_failed > 0 && job.status !== "canceled")
      made.push(button("Retry failed items", () => act(async () => {
        await actOnJob(this.client, job.id, "retry");
        void this.show(job.id);
      })));
    if (isEnded(job) && job.progress.items_succeeded > 0) made.push(this.zipButton(job));
    made.push(iconButton("trash", "Delete the job and its results", () => act(async () => {
      await deleteJob(this.client, job.id);
      this.onBack();
    })));
    return made;
  }

  private zipButton(job: Job): HTMLElement {
    const format = h("select", { aria: { label: "Format of the results" } }, ...offeredFormats(this.formats).map(({ format, label }) => h("option", { value: format }, label)));
    const download = button("Download all", () => {
      const query = `response_format=${format.value}`;
      this.client.fetch(`v1/jobs/${job.id}/results.zip?${query}`).then(async (response) => save(await response.blob(), `${job.id}.zip`)).catch((error: unknown) => this.notices.error(error));
    }, "button primary");
    return h("span", { className: "joined" }, format, download);
  }
}

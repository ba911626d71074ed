/** Connects views and server: one transcription at a time, jobs, and the view named in the address. */

import type { Client } from "./api/client";
import type { Features } from "./api/features";
import { ProblemError } from "./api/problem";
import { type Options, resumeTranscription, streamTranscription } from "./api/stream";
import type { JobItem, StreamEvent, Transcription } from "./api/types";
import { readTranscription } from "./export/read_transcription";
import { getRecording, getResult, isEnded, listItems, listJobs, submitJob } from "./jobs/jobs_api";
import { type Entry, itemId, Library } from "./library";
import { parseRoute, type Route } from "./route";
import { TranscriptionProgress } from "./transcription/progress";
import { jobList, recentList } from "./ui/history";
import { JobView } from "./ui/job_view";
import type { Notices } from "./ui/notices";
import type { OptionsForm } from "./ui/options_form";
import { StartView } from "./ui/start_view";
import { WorkView } from "./ui/work_view";

const POLL_MILLISECONDS = 1200;

export class App {
  readonly start: StartView;
  readonly work: WorkView;
  readonly job: JobView;
  private readonly library = new Library();
  private running: AbortController | null = null;
  /** The address that is shown already, so that setting it does not load it again. */
  private shown = "";
  /** What the work view shows, as the library names it. */
  private key = "";

  constructor(
    private readonly client: Client, private readonly features: Features, private readonly notices: Notices, form: OptionsForm,
  ) {
    this.start = new StartView(form, {
      onFiles: (files, options) => void this.take(files, options), onError: () => notices.say("The microphone cannot be used. Allow it in the browser's settings."),
    });
    this.work = new WorkView(client, features, notices, {
      onBack: () => this.go("#"),
      onCancel: () => this.go("#"),
      onAgain: (file) => {
        this.go("#");
        if (file === null) notices.say("The recording is no longer in this browser. Choose it again.");
        this.start.offerAgain(file);
      },
      onEdit: (edits) => void this.library.putEdits(this.key, edits),
      onRecording: (file) => this.keepRecording(file),
      onShare: features.hasJobs ? (file, transcription) => void this.share(file, transcription) : null,
    });
    this.job = new JobView(client, features.formats, notices, () => this.go("#"));
    addEventListener("hashchange", () => void this.show());
  }

  /** Shows the view named in the address. */
  async show(): Promise<void> {
    if (location.hash === this.shown && this.shown !== "") return;
    this.shown = location.hash;
    this.stop();
    this.notices.leave();
    const route = parseRoute(location.hash);
    this.reveal(route);
    try {
      if (route.view === "start") await this.showHistory();
      else if (route.view === "job") await this.job.show(route.id);
      else if (route.view === "item") await this.showItem(route.job, route.number);
      else await this.showTranscription(route.id);
    } catch (error) {
      this.work.fail();
      this.notices.error(error);
    }
  }

  private go(fragment: string): void {
    if (location.hash === fragment || (fragment === "#" && location.hash === "")) {
      this.shown = "";
      void this.show();
    } else location.hash = fragment;
  }

  private reveal(route: Route): void {
    this.start.element.hidden = route.view !== "start";
    this.job.element.hidden = route.view !== "job";
    this.work.element.hidden = route.view !== "transcription" && route.view !== "item";
    if (route.view !== "job") this.job.hide();
    window.scrollTo(0, 0);
  }

  private stop(): void {
    this.running?.abort(new DOMException("canceled", "AbortError"));
    this.running = null;
    this.work.leave();
  }

  private async take(files: File[], options: Options): Promise<void> {
    this.notices.clear();
    this.start.offerAgain(null);
    const [file] = files;
    if (files.length === 1 && file !== undefined && this.work.wantsRecording && !isJson(file)) return this.work.attach(file);
    try {
      if (files.length > 1) await this.submit(files, options);
      else if (file !== undefined && isJson(file)) await this.open(file);
      else if (file !== undefined) await this.transcribe(file, options);
    } catch (error) {
      this.work.fail();
      this.notices.error(error);
      // Nothing was started: go back to where options and file can be changed.
      if (this.key === "") this.go("#");
    }
  }

  private async transcribe(file: File, options: Options): Promise<void> {
    const [progress, signal] = this.begin(file.name, "");
    this.work.setRecording(file);
    await streamTranscription(this.client, file, options, {
      onSent: (fraction) => {
        progress.sent(fraction);
        this.work.update(progress);
      },
      onEvent: (event) => this.apply(progress, event, file.name, file),
    }, signal);
  }

  private begin(name: string, key: string): [TranscriptionProgress, AbortSignal] {
    this.stop();
    this.running = new AbortController();
    this.key = key;
    this.work.begin(name);
    this.reveal({ view: "transcription", id: "" });
    return [new TranscriptionProgress(), this.running.signal];
  }

  /** Shows a transcription that was saved as JSON; its recording stays, where this browser has it. */
  private async open(file: File): Promise<void> {
    const transcription = readTranscription(await file.text());
    if (transcription === null) {
      this.notices.say(`“${file.name}” is not a transcription saved by this page. Choose such a JSON file, or a recording.`);
      return;
    }
    const { id } = transcription;
    const known = await this.library.get(id);
    await this.library.put({ id, name: known?.name ?? file.name.replace(/\.json$/i, ""), created: Date.now(), file: known?.file ?? null, transcription });
    await this.library.removeEdits(id);
    this.shown = "";
    this.go(`#transcription=${id}`);
  }

  private apply(progress: TranscriptionProgress, event: StreamEvent, name: string, file: File | null): void {
    progress.apply(event);
    const { id, transcription } = progress;
    if (event.type === "transcription.started" && id !== null) {
      this.shown = `#transcription=${id}`;
      this.key = id;
      // The name survives a reload even before the library has stored the recording.
      if (location.hash !== this.shown) history.pushState({ name }, "", this.shown);
      void this.library.put({ id, name, created: Date.now(), file, transcription: null });
    }
    if (event.type === "error") throw new ProblemError(event);
    if (transcription !== null && id !== null) {
      this.work.finish(transcription);
      void this.library.put({ id, name, created: Date.now(), file, transcription });
    } else this.work.update(progress);
  }

  private async showTranscription(id: string): Promise<void> {
    const given = history.state as { name?: string } | null;
    const [progress, signal] = this.begin(given?.name ?? "Transcription", id);
    const [entry, edits] = await Promise.all([this.library.get(id), this.library.edits(id)]);
    if (signal.aborted) return;
    const name = entry?.name ?? given?.name ?? "Transcription";
    const file = asFile(entry?.file ?? null, name);
    this.work.setName(name);
    this.work.setRecording(file);
    if (entry?.transcription) {
      this.work.finish(entry.transcription, edits);
      return;
    }
    await resumeTranscription(this.client, id, (event) => this.apply(progress, event, name, file), signal);
  }

  private async showItem(job: string, number: number): Promise<void> {
    const key = itemId(job, number);
    const otherwise = `Recording ${number + 1}`;
    const [, signal] = this.begin(otherwise, key);
    const [item, edits] = await Promise.all([this.endOf(job, number, signal), this.library.edits(key)]);
    if (item === null) return;
    const transcription = await getResult(this.client, job, number);
    if (signal.aborted) return;
    const name = item.name ?? otherwise;
    this.work.finish(transcription, edits);
    const recording = (await this.library.recording(key)) ?? (await getRecording(this.client, job, number));
    if (!signal.aborted) this.work.setRecording(asFile(recording, name));
  }

  /** Waits for the end of a job's item; null if the user left the view in the meantime. */
  private async endOf(job: string, number: number, signal: AbortSignal): Promise<JobItem | null> {
    for (;;) {
      const item = (await listItems(this.client, job)).find((each) => each.number === number);
      if (signal.aborted) return null;
      if (item === undefined) throw new ProblemError({ title: "", status: 404, detail: "", code: "job_not_found" });
      if (item.name !== null) this.work.setName(item.name);
      if (item.status === "succeeded") return item;
      if (isEnded(item)) {
        const { code, message } = item.error ?? { code: "canceled", message: "this recording was canceled" };
        throw new ProblemError({ title: "", status: 0, detail: message, code });
      }
      this.work.wait(item.status === "queued" ? "Waiting for the server…" : "Transcribing…");
      await new Promise((resolve) => setTimeout(resolve, POLL_MILLISECONDS));
    }
  }

  private async keepRecording(file: File): Promise<void> {
    const { key } = this;
    const entry: Entry | undefined = await this.library.get(key);
    if (entry === undefined) await this.library.putRecording(key, file);
    else await this.library.put({ ...entry, file });
  }

  private async submit(files: readonly File[], options: Options): Promise<void> {
    this.running = new AbortController();
    const say = (fraction: number): void => this.notices.show(`Sending ${files.length} recordings… ${Math.round(fraction * 100)} %`);
    say(0);
    const job = await submitJob(this.client, files, options, this.running.signal, say).finally(() => this.notices.clear());
    location.hash = `#job=${job.id}`;
  }

  /** Runs the same recording as a job, whose result the server keeps under an address. */
  private async share(file: File | null, transcription: Transcription): Promise<void> {
    if (file === null) {
      this.notices.say("The recording is no longer in this browser, so it cannot be sent again.");
      return;
    }
    try {
      const job = await submitJob(this.client, [file], sameOptions(transcription, this.features), new AbortController().signal, () => undefined);
      const link = new URL(`#job=${job.id}&item=0`, location.href).href;
      const whose = this.client.hasKey ? " for your API key" : "";
      const until = `The server transcribes it again and keeps the result until ${new Date(job.expires_at).toLocaleDateString()}${whose}.`;
      const isCopied = await copy(link);
      this.notices.say(until + (isCopied ? " Its address was copied:" : " Its address:"), link);
    } catch (error) {
      this.notices.error(error);
    }
  }

  private async showHistory(): Promise<void> {
    const redraw = async (): Promise<void> => {
      const entries = await this.library.list();
      const recent = recentList(entries, (id) => void this.library.remove(id).then(redraw));
      this.start.setHistory(recent);
      if (!this.features.hasJobs) return;
      // A server without jobs says so; the start view then has no list.
      const jobs = await listJobs(this.client).catch(() => []);
      this.start.setHistory(recent, jobList(jobs));
    };
    await redraw();
  }
}

function isJson(file: File): boolean {
  return file.type === "application/json" || /\.json$/i.test(file.name);
}

function asFile(content: Blob | null, name: string): File | null {
  return content && new File([content], name, { type: content.type });
}

/** Browsers allow it on secure addresses only. */
async function copy(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

/** The options that a transcription was made with, as a new request names them. */
function sameOptions(transcription: Transcription, features: Features): Options {
  const options: Options = {};
  for (const [name, value] of Object.entries(transcription.options)) {
    if (!features.options.has(name) || value === null || (Array.isArray(value) && value.length === 0)) continue;
    options[name] = Array.isArray(value) ? value.map(String) : String(value);
  }
  return options;
}

/** Joins views and server: one transcription at a time, jobs, and what the address asks for. */

import type { Client } from "./api/client";
import type { Features } from "./api/features";
import { ProblemError } from "./api/problem";
import { type Options, resumeTranscription, streamTranscription } from "./api/stream";
import type { StreamEvent, Transcription } from "./api/types";
import { getResult, listItems, listJobs, submitJob } from "./jobs/jobs_api";
import { Library } from "./library";
import { parseRoute, type Route } from "./route";
import { TranscriptionProgress } from "./transcription/progress";
import { jobList, recentList } from "./ui/history";
import { JobView } from "./ui/job_view";
import type { Notices } from "./ui/notices";
import type { OptionsForm } from "./ui/options_form";
import { StartView } from "./ui/start_view";
import { WorkView } from "./ui/work_view";

export class App {
  readonly start: StartView;
  readonly work: WorkView;
  readonly job: JobView;
  private readonly library = new Library();
  private running: AbortController | null = null;
  /** The address that is shown already, so that setting it does not load it again. */
  private shown = "";

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
        if (file === null) notices.say("The recording is not in this browser any more. Choose it again.");
        this.start.offerAgain(file);
      },
      onShare: features.hasJobs ? (file, transcription) => void this.share(file, transcription) : null,
    });
    this.job = new JobView(client, features.formats, notices, () => this.go("#"));
    addEventListener("hashchange", () => void this.show());
  }

  /** Shows what the address asks for. */
  async show(): Promise<void> {
    if (location.hash === this.shown && this.shown !== "") return;
    this.shown = location.hash;
    this.stop();
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
    try {
      if (files.length > 1) await this.submit(files, options);
      else if (file !== undefined) await this.transcribe(file, options);
    } catch (error) {
      this.work.fail();
      this.notices.error(error);
      // Nothing was begun: back to where options and file can be changed.
      if (parseRoute(location.hash).view === "start") this.reveal({ view: "start" });
    }
  }

  private async transcribe(file: File, options: Options): Promise<void> {
    const progress = this.begin(file.name, file);
    const { signal } = this.running as AbortController;
    await streamTranscription(this.client, file, options, {
      onSent: (fraction) => {
        progress.sent(fraction);
        this.work.update(progress);
      },
      onEvent: (event) => this.apply(progress, event, file.name, file),
    }, signal);
  }

  private begin(name: string, file: File | null): TranscriptionProgress {
    this.running = new AbortController();
    this.work.begin(name, file);
    this.reveal({ view: "transcription", id: "" });
    const progress = new TranscriptionProgress();
    this.work.update(progress);
    return progress;
  }

  private apply(progress: TranscriptionProgress, event: StreamEvent, name: string, file: File | null): void {
    progress.apply(event);
    const { id, transcription } = progress;
    if (event.type === "transcription.started" && id !== null) {
      this.shown = `#transcription=${id}`;
      history.replaceState(null, "", this.shown);
      void this.library.put({ id, name, created: Date.now(), file, transcription: null });
    }
    if (event.type === "error") throw new ProblemError(event);
    if (transcription !== null && id !== null) {
      this.work.finish(transcription);
      void this.library.put({ id, name, created: Date.now(), file, transcription });
    } else this.work.update(progress);
  }

  private async showTranscription(id: string): Promise<void> {
    const entry = await this.library.get(id);
    const file = entry?.file ? new File([entry.file], entry.name, { type: entry.file.type }) : null;
    const name = entry?.name ?? "Transcription";
    const progress = this.begin(name, file);
    if (entry?.transcription) {
      this.work.finish(entry.transcription);
      return;
    }
    const { signal } = this.running as AbortController;
    await resumeTranscription(this.client, id, (event) => this.apply(progress, event, name, file), signal);
  }

  private async showItem(job: string, number: number): Promise<void> {
    const [items, entry] = await Promise.all([listItems(this.client, job), this.library.get(`${job}/${number}`)]);
    const name = items.find((item) => item.number === number)?.name ?? `Recording ${number + 1}`;
    const file = entry?.file ? new File([entry.file], name, { type: entry.file.type }) : null;
    this.begin(name, file);
    this.work.finish(await getResult(this.client, job, number));
  }

  private async submit(files: readonly File[], options: Options): Promise<void> {
    this.running = new AbortController();
    this.notices.say(`Sending ${files.length} recordings…`);
    const job = await submitJob(this.client, files, options, this.running.signal, () => undefined);
    location.hash = `#job=${job.id}`;
  }

  /** Runs the same recording as a job, whose result the server keeps under an address. */
  private async share(file: File | null, transcription: Transcription): Promise<void> {
    if (file === null) {
      this.notices.say("The recording is not in this browser any more, so it cannot be sent again.");
      return;
    }
    try {
      const job = await submitJob(this.client, [file], sameOptions(transcription, this.features), new AbortController().signal, () => undefined);
      const link = new URL(`#job=${job.id}`, location.href).href;
      await navigator.clipboard.writeText(link).then(
        () => this.notices.say(`The server keeps the result until ${new Date(job.expires_at).toLocaleDateString()}. Its address is copied.`),
        () => this.notices.say(`The server keeps the result at ${link}`),
      );
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
      // A server without jobs says so; the start is whole without the list.
      const jobs = await listJobs(this.client).catch(() => []);
      this.start.setHistory(recent, jobList(jobs));
    };
    await redraw();
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

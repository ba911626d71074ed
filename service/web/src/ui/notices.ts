/** Messages to the user: errors stay until closed, other messages disappear by themselves. */

import { ProblemError, sentence } from "../api/problem";
import { h, iconButton } from "./dom";

const NEWS_MILLISECONDS = 6000;

export class Notices {
  readonly element = h("div", { className: "notices" });
  // Two live regions that always exist, because screen readers watch only those present from the start.
  private readonly errors = h("div", { role: "alert" });
  private readonly news = h("div", { role: "status" });

  constructor() {
    this.element.append(this.errors, this.news);
  }

  error(error: unknown): void {
    if (error instanceof DOMException && error.name === "AbortError") return;
    const text = error instanceof ProblemError ? sentence(error.problem) : "Something on this page failed. Reload it and try again.";
    if (!(error instanceof ProblemError)) console.error(error);
    const id = error instanceof ProblemError ? error.problem.request_id : null;
    const notice = this.notice("error", text, id ? `Request ${id}` : "");
    this.errors.replaceChildren(notice);
  }

  /** @param link an address to show and to follow. */
  say(text: string, link?: string): void {
    const notice = this.notice("news", text, "");
    if (link !== undefined) notice.append(h("a", { href: link }, link));
    notice.classList.toggle("linked", link !== undefined);
    this.news.replaceChildren(notice);
    // A message with a link stays until it is closed, or another view is shown.
    if (link === undefined) setTimeout(() => notice.remove(), NEWS_MILLISECONDS);
  }

  /** Shows what is happening, until `clear` or another message. */
  show(text: string): void {
    const shown = this.news.querySelector(".progress-news p");
    if (shown !== null) shown.textContent = text;
    else this.news.replaceChildren(this.notice("news progress-news", text, ""));
  }

  clear(): void {
    this.errors.replaceChildren();
    this.news.querySelector(".progress-news")?.remove();
  }

  /** Removes the messages of the view that is left. */
  leave(): void {
    this.news.querySelector(".linked")?.remove();
  }

  private notice(kind: string, text: string, detail: string): HTMLElement {
    const notice = h("div", { className: `notice ${kind}` }, h("p", {}, text), detail && h("p", { className: "quiet" }, detail));
    notice.append(iconButton("close", "Close the message", () => notice.remove()));
    return notice;
  }
}

/** Starts the page. */

import { App } from "./app";
import { Client } from "./api/client";
import { loadFeatures } from "./api/features";
import { h, iconButton } from "./ui/dom";
import { askKey } from "./ui/key_dialog";
import { Notices } from "./ui/notices";
import { type InstrumentFamily, OptionsForm } from "./ui/options_form";
import { followScheme, switchScheme } from "./ui/scheme";

interface Instruments {
  data: { name: string; family: string }[];
}

async function loadFamilies(client: Client): Promise<InstrumentFamily[]> {
  const { data } = await client.json<Instruments>("v1/instruments");
  const families = new Map<string, string[]>();
  for (const { name, family } of data) families.set(family, [...(families.get(family) ?? []), name]);
  return [...families].map(([name, instruments]) => ({ name, instruments }));
}

async function begin(): Promise<void> {
  const page = document.getElementById("page") as HTMLElement;
  const client = new Client(askKey);
  const notices = new Notices();
  let rethemed = (): void => undefined;
  followScheme(() => rethemed());
  const forget = iconButton("key", "Forget the API key", () => {
    client.forgetKey();
    location.reload();
  });
  forget.hidden = !client.hasKey;
  const header = h(
    "header", { className: "top" },
    h("a", { className: "logo", href: "#" }, h("span", { className: "mark", aria: { hidden: "true" } }, h("i"), h("i"), h("i"), h("i")), "MT3"),
    h("span", { className: "grow" }),
    forget,
    h("a", { className: "quiet-link", href: "docs" }, "API"),
    iconButton("sun", "Light or dark", () => switchScheme(() => rethemed())),
  );
  const main = h("main", {});
  page.append(header, notices.element, main);
  try {
    const features = await loadFeatures(client);
    const [families, models] = await Promise.all([
      loadFamilies(client), client.json<{ data: { id: string }[] }>("v1/models"),
    ]);
    forget.hidden = !client.hasKey;
    const app = new App(client, features, notices, new OptionsForm(features, families, models.data.map(({ id }) => id)));
    rethemed = () => app.work.rethemed();
    main.append(app.start.element, app.job.element, app.work.element);
    await app.show();
  } catch (error) {
    notices.error(error);
  }
}

void begin();

/** Builds elements. */

type Child = Node | string | null | undefined | false;
type Properties<T extends keyof HTMLElementTagNameMap> = Partial<
  Omit<HTMLElementTagNameMap[T], "style" | "children" | "dataset" | "list">
> & { aria?: Record<string, string>; data?: Record<string, string>; role?: string };

export function h<T extends keyof HTMLElementTagNameMap>(
  tag: T, properties: Properties<T> = {}, ...children: Child[]
): HTMLElementTagNameMap[T] {
  const element = document.createElement(tag);
  const { aria, data, role, ...rest } = properties;
  Object.assign(element, rest);
  for (const [name, value] of Object.entries(aria ?? {})) element.setAttribute(`aria-${name}`, value);
  for (const [name, value] of Object.entries(data ?? {})) element.dataset[name] = value;
  if (role !== undefined) element.setAttribute("role", role);
  element.append(...children.filter((child): child is Node | string => child !== null && child !== undefined && child !== false));
  return element;
}

const PATHS = {
  play: "M7 4.5v15l13-7.5z",
  pause: "M7 4.5h3.500v15H7zM13.500 4.5H17v15h-3.500z",
  loop: "M17 3l4 4-4 4V8H8a3 3 0 0 0-3 3v1H3v-1a5 5 0 0 1 5-5h9zM7 21l-4-4 4-4v3h9a3 3 0 0 0 3-3v-1h2v1a5 5 0 0 1-5 5H7z",
  download: "M11 3h2v9.200l3.300-3.300 1.400 1.400L12 16l-5.700-5.700 1.400-1.400 3.300 3.300zM4 18h16v2.500H4z",
  close: "M6.400 5 12 10.600 17.600 5 19 6.400 13.400 12l5.600 5.600-1.400 1.400L12 13.400 6.400 19 5 17.600 10.600 12 5 6.400z",
  mic: "M12 2.500a3 3 0 0 1 3 3v6a3 3 0 0 1-6 0v-6a3 3 0 0 1 3-3zM5.500 11h2a4.500 4.500 0 0 0 9 0h2a6.500 6.500 0 0 1-5.500 6.400V21h-2v-3.600A6.500 6.500 0 0 1 5.500 11z",
  stop: "M6 6h12v12H6z",
  metronome: "M9.500 3h5l1.500 6 2.700-2.700 1.400 1.400-3.500 3.500L19 21H5zM10.900 5 7.600 19h8.800l-1.300-5.300-3.400 3.400-1.400-1.400 4.200-4.200L13.100 5z",
  sun: "M12 7a5 5 0 1 1 0 10 5 5 0 0 1 0-10zM11 1h2v4h-2zM11 19h2v4h-2zM1 11h4v2H1zM19 11h4v2h-4zM4.200 5.600l1.400-1.400 2.800 2.800L7 8.400zM15.600 17l1.400-1.400 2.800 2.800-1.400 1.400zM4.200 18.400 7 15.600 8.400 17l-2.800 2.800zM15.600 7l2.800-2.800 1.400 1.400L17 8.400z",
  moon: "M20 14.500A8.500 8.500 0 0 1 9.500 4a8.500 8.500 0 1 0 10.500 10.500z",
  plus: "M11 5h2v6h6v2h-6v6h-2v-6H5v-2h6z",
  minus: "M5 11h14v2H5z",
  fit: "M3 3h6v2H5v4H3zM15 3h6v6h-2V5h-4zM3 15h2v4h4v2H3zM19 15h2v6h-6v-2h4z",
  rows: "M3 5h18v3H3zM3 10.500h18v3H3zM3 16h18v3H3z",
  key: "M14.500 3a6.500 6.500 0 1 1-5.700 9.600L8 13.400 6.500 15H8v2H6v2H4v2H1v-3.600l7.200-7.200A6.500 6.500 0 0 1 14.500 3zm2 3a2 2 0 1 0 0 4 2 2 0 0 0 0-4z",
  volume: "M4 9h4l5-4.500v15L8 15H4zM15.500 8.500a5 5 0 0 1 0 7zM17 5a9 9 0 0 1 0 14l-1.200-1.600a7 7 0 0 0 0-10.800z",
  trash: "M9 3h6v2h5v2H4V5h5zM6 9h12l-1 12H7z",
  back: "M11 5 4 12l7 7 1.400-1.400L7.800 13H20v-2H7.800l4.600-4.600z",
  link: "M10.600 13.400a4 4 0 0 1 0-5.700l3.600-3.500a4 4 0 0 1 5.600 5.600l-2 2-1.400-1.400 2-2a2 2 0 0 0-2.800-2.800L12 9.100a2 2 0 0 0 0 2.900zM13.400 10.600a4 4 0 0 1 0 5.700l-3.600 3.500a4 4 0 0 1-5.600-5.600l2-2 1.400 1.400-2 2a2 2 0 0 0 2.800 2.800l3.600-3.500a2 2 0 0 0 0-2.900z",
} as const;
export type IconName = keyof typeof PATHS;

export function icon(name: IconName): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  svg.setAttribute("viewBox", "0 0 24 24");
  svg.setAttribute("aria-hidden", "true");
  svg.setAttribute("class", "icon");
  path.setAttribute("d", PATHS[name]);
  svg.append(path);
  return svg;
}

/** A button with an icon; its name is read by screen readers and shown as a tooltip. */
export function iconButton(name: IconName, label: string, onclick: () => void, className = "icon-button"): HTMLButtonElement {
  return h("button", { type: "button", className, title: label, aria: { label }, onclick }, icon(name));
}

export function button(label: string, onclick: () => void, className = "button"): HTMLButtonElement {
  return h("button", { type: "button", className, onclick }, label);
}

/** Offers bytes as a file. */
export function save(content: Blob, name: string): void {
  const url = URL.createObjectURL(content);
  const link = h("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

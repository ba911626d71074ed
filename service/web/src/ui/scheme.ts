/** Light or dark: the system's choice until the user makes one. */

const STORED = "mt3.scheme";
const dark = matchMedia("(prefers-color-scheme: dark)");

export function followScheme(onChange: () => void): void {
  const apply = (): void => {
    document.documentElement.dataset.theme = isDark() ? "dark" : "light";
    onChange();
  };
  dark.addEventListener("change", apply);
  apply();
}

export function switchScheme(onChange: () => void): void {
  localStorage.setItem(STORED, isDark() ? "light" : "dark");
  document.documentElement.dataset.theme = isDark() ? "dark" : "light";
  onChange();
}

export function isDark(): boolean {
  const chosen = localStorage.getItem(STORED);
  return chosen === null ? dark.matches : chosen === "dark";
}

import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { defineConfig, type Plugin } from "vite";

const SOURCES = ["index.html", "package-lock.json", "vite.config.ts"];

/** Writes the digest of the sources beside the built files: a test compares it. */
function sourcesDigest(): Plugin {
  return {
    name: "sources-digest",
    generateBundle() {
      const inside = readdirSync("src", { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => `${entry.parentPath}/${entry.name}`);
      const hash = createHash("sha256");
      for (const path of [...SOURCES, ...inside].sort()) hash.update(`${path}\0`).update(readFileSync(path)).update("\0");
      this.emitFile({ type: "asset", fileName: "sources.sha256", source: `${hash.digest("hex")}\n` });
    },
  };
}

export default defineConfig({
  // Relative links, so that the page works below a path prefix of a proxy.
  base: "./",
  plugins: [sourcesDigest()],
  build: {
    target: "es2022",
    // The synthesizer and the score are loaded when they are first needed.
    chunkSizeWarningLimit: 1500,
    assetsInlineLimit: 0,
    // The page's policy allows no inline script, and the polyfill is for old browsers.
    modulePreload: { polyfill: false },
    rolldownOptions: {
      // The bundler's helpers have a file of their own, so that the large libraries, which import them, keep
      // their names when only the page changes.
      output: { codeSplitting: { groups: [{ name: "helpers", test: /rolldown[\\/]runtime|preload-helper/ }] } },
    },
    license: { fileName: "licenses.md" },
  },
  // `npm run dev` uses a server on its usual port.
  server: { proxy: { "/v1": "http://127.0.0.1:8000", "/openapi.json": "http://127.0.0.1:8000" } },
});

import { defineConfig } from "vite";

export default defineConfig({
  // Relative links, so that the page works below a path prefix of a proxy.
  base: "./",
  build: {
    target: "es2022",
    // The synthesizer's worklet and the score are loaded when first needed.
    chunkSizeWarningLimit: 1500,
    assetsInlineLimit: 0,
    // The policy of the page allows no inline script, and the polyfill is for old browsers.
    modulePreload: { polyfill: false },
    license: { fileName: "licenses.md" },
  },
  // `npm run dev` uses a server on its usual port.
  server: { proxy: { "/v1": "http://127.0.0.1:8000", "/openapi.json": "http://127.0.0.1:8000" } },
});

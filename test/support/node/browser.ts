import { writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import sparticuz, { inflate } from "@sparticuz/chromium";
import { chromium, type Browser } from "playwright-core";
import { vi } from "vitest";

/**
 * A real Chromium without a window: on Linux on x64 the one that npm installs, unpacked into `folder` with the libraries
 * and fonts that it needs, else the Chrome of this machine. Undefined when there is none, which is said.
 */
export async function openBrowser(folder: string): Promise<Browser | undefined> {
  if (process.platform !== "linux" || process.arch !== "x64")
    return chromium.launch({ channel: "chrome" }).catch((error: unknown) => {
      console.warn("What needs a browser is skipped, because this machine's Chrome does not start:", error);
      return undefined;
    });
  vi.stubEnv("TMPDIR", folder); // Where the package unpacks to.
  const executablePath = await sparticuz.executablePath();
  const entry = createRequire(import.meta.url).resolve("@sparticuz/chromium");
  const libraries = await inflate(join(dirname(entry), "../bin/al2023.tar.br"));
  vi.unstubAllEnvs();
  // The package's own looks for its fonts elsewhere, and without any the browser crashes.
  const dirs = `<dir>${join(folder, "fonts")}</dir><cachedir>${join(folder, "fonts-cache")}</cachedir>`;
  writeFileSync(join(folder, "fonts.conf"), `<?xml version="1.0"?><fontconfig>${dirs}</fontconfig>`);
  return chromium.launch({
    executablePath,
    env: { HOME: folder, LD_LIBRARY_PATH: join(libraries, "lib"), FONTCONFIG_PATH: folder },
  });
}

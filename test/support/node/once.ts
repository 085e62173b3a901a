import { once } from "node:events";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, watch, writeFileSync } from "node:fs";
import { join } from "node:path";
import { inject } from "vitest";

/**
 * What `make` returns, made once in a run: by the file that asks first, while the others wait for it. It has to be JSON,
 * and may name files in the folder that `make` is given. When that fails, the next one makes it.
 */
export async function onceInARun<T>(name: string, make: (dir: string) => Promise<T>): Promise<T> {
  const folder = inject("folder");
  const [dir, kept] = [join(folder, name), join(folder, `${name}.json`)];
  // Before the first look at what is there, or what comes in between would be missed.
  const watcher = watch(folder);
  try {
    while (!existsSync(kept))
      if (claim(dir)) await keep(kept, dir, make);
      else await once(watcher, "change");
  } finally {
    watcher.close();
  }
  return JSON.parse(readFileSync(kept, "utf8")) as T;
}

/** Makes the folder; false when it was there. */
function claim(dir: string): boolean {
  try {
    // As root, Postgres runs as another user, who then reaches its data here.
    mkdirSync(dir, { mode: 0o711 });
    return true;
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "EEXIST") return false;
    throw error;
  }
}

async function keep(kept: string, dir: string, make: (dir: string) => Promise<unknown>): Promise<void> {
  try {
    writeFileSync(`${kept}.new`, JSON.stringify(await make(dir)));
    renameSync(`${kept}.new`, kept);
  } catch (error) {
    rmSync(dir, { recursive: true, force: true });
    throw error;
  }
}

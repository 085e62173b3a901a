import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";

// What `npm ci` installs, on this machine and on others.

type Entry = {
  version?: string;
  integrity?: string;
  link?: boolean;
  inBundle?: boolean;
  libc?: string[];
  os?: string[];
};
const { packages } = JSON.parse(readFileSync(join(import.meta.dirname, "../package-lock.json"), "utf8")) as {
  packages: Record<string, Entry>;
};
const installed = Object.entries(packages).filter(
  ([path, { link }]) => path.includes("node_modules/") && !link,
);

it("names the hash of every package, also of those for systems that are not this one", () => {
  const others = installed.filter(([, { os }]) => os && !os.includes(process.platform));
  expect(others.length).toBeGreaterThan(20);
  expect(installed.filter(([, entry]) => !entry.integrity && !entry.inBundle).map(([path]) => path)).toEqual(
    [],
  );
});

it("installs no programs of another C library", () => {
  const musl = installed.filter(([path]) => path.endsWith("-musl"));
  expect(musl.length).toBeGreaterThan(5);
  expect(musl.filter(([, { libc }]) => libc?.join() !== "musl").map(([path]) => path)).toEqual([]);
});

it.each(["wrangler", "workerd", "miniflare", "vitest", "esbuild"])("has %s once", (name) => {
  const places = installed.map(([path]) => path).filter((path) => path.endsWith(`node_modules/${name}`));
  expect(places).toEqual([`node_modules/${name}`]);
});

import { globSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { BLOCKS, blocksOf, withBlocks } from "./bench/blocks.ts";
import { addToRecord, readRecord } from "./bench/record.ts";

// The figures in README.md and docs/, held against the bench that was recorded: test/bench/recorded.json.

const root = join(import.meta.dirname, "..");
const read = (name: string) => readFileSync(join(root, name), "utf8");
const DOCUMENTS = globSync(["README.md", "docs/*.md"], { cwd: root });
const record = readRecord();

/** Of these nothing is recorded yet: their blocks show a run before there was a record. */
const UNRECORDED = {
  limits: "measured on 2026-11-29: npm run bench -- limits --rounds 4",
  wall: "measured on 2026-11-29: npm run bench -- wall --rounds 3",
};

/** What has figures that no bench measures, and why: by document, and a table's first line or a part of a paragraph. */
const EXCEPTIONS: { document: string; shows: string; why: string }[] = [
  {
    document: "docs/comparisons.md",
    shows: "| algorithm | worst of 100 | state | flaw |",
    why: "an experiment of 2026-11-23; partywall's line is held by npm test -- test/limits.property.test.ts",
  },
  {
    document: "docs/comparisons.md",
    shows: "| statement | without | with |",
    why: "an experiment of 2026-11-23, before partywall; npm run bench -- wall measures the same as it is now",
  },
];

/** An adopter writes a README of their own. */
const isOurs = read("README.md").startsWith("# partywall\n");
/** Whose figures are all held: the others show figures beside the command that measures them. */
const HELD = ["README.md", "docs/comparisons.md"].filter((name) => name !== "README.md" || isOurs);

/** As a formatter leaves it or not: spaces and the dashes of a table's second line aside. */
const flat = (markdown: string) => markdown.replaceAll(/-{3,}/g, "---").replaceAll(/\s+/g, " ").trim();

/** A document's tables and paragraphs outside of blocks of the bench and of code. */
const partsOf = (markdown: string) =>
  markdown
    .replaceAll(/<!-- bench: \w+ -->[\s\S]*?<!-- end of bench -->/g, "")
    .replaceAll(/^ *```[\s\S]*?^ *```$/gm, "")
    .split(/\n\s*\n|\n(?=- )/)
    .map(flat)
    .filter(Boolean);

/** Whether a table's body, or a ratio in a paragraph, has a figure. */
function hasFigures(part: string): boolean {
  if (!part.startsWith("|"))
    return /(?<![\d.])\d+\.\d\d(?![\d.])|\b\d+(\.\d+)? times\b|\d KB gzipped/.test(part);
  const [, body = ""] = part.split(/\|(?: ?:?---:? ?\|)+/);
  const words = body.replaceAll(/`[^`]*`|\]\([^)]*\)/g, "");
  return /\d/.test(words);
}

const unheld = (name: string): string[] =>
  partsOf(read(name)).filter(
    (part) =>
      hasFigures(part) &&
      !EXCEPTIONS.some(({ document, shows }) => document === name && part.includes(shows)),
  );

describe.each(DOCUMENTS)("%s", (name) => {
  it("shows in each of its blocks what was recorded", () => {
    for (const { subject, shows, says } of blocksOf(read(name), record)) {
      if (says === undefined) expect(Object.keys(UNRECORDED)).toContain(subject);
      // `npm run bench -- --write` writes them.
      else expect(flat(shows)).toBe(flat(says));
    }
  });
});

it("every table with figures, and every measured ratio, is of the record, or one of the exceptions", () => {
  expect(HELD.flatMap(unheld)).toEqual([]);
});

it("every exception says when its figures were measured and how, and none is there for nothing", () => {
  for (const why of [...EXCEPTIONS.map((each) => each.why), ...Object.values(UNRECORDED)])
    expect(why).toMatch(/\b20\d\d-\d\d-\d\d\b.*npm (run|test)|\b20\d\d-\d\d-\d\d\b.*docs\//);
  expect(Object.keys(UNRECORDED).filter((subject) => subject in record)).toEqual([]);
  const idle = EXCEPTIONS.filter(
    ({ document, shows }) =>
      HELD.includes(document) && !partsOf(read(document)).some((part) => part.includes(shows)),
  );
  expect(idle).toEqual([]);
});

it("finds a figure that nobody has recorded", () => {
  expect(
    partsOf("| a | b |\n|---|---|\n| speed | 12 |\n\nIt takes 0.83 of it.\n\nNode 24.\n").map(hasFigures),
  ).toEqual([true, true, false]);
  const changed = read("docs/comparisons.md").replace(/\| read a row( +)\| \d/, "| read a row$1| 9");
  const block = blocksOf(changed, record).find(({ name }) => name === "pipeline");
  expect(flat(block?.shows ?? "")).not.toBe(flat(block?.says ?? ""));
  expect(flat(withBlocks(changed, record))).toBe(flat(read("docs/comparisons.md")));
});

it("adds a subject to a record beside those that are there, with the day, the commit, the machine and the command", () => {
  const dir = mkdtempSync(join(tmpdir(), "partywall-record-"));
  try {
    const file = join(dir, "recorded.json");
    addToRecord(file, "wall", ["--rounds", "3"], { rows: 1.23456789 });
    addToRecord(file, "limits", [], { compared: [] });
    const found = readRecord(file);
    expect(Object.keys(found)).toEqual(["limits", "wall"]);
    expect(found["wall"]).toMatchObject({
      command: "npm run bench -- wall --rounds 3",
      figures: { rows: 1.23457 },
    });
    expect(Object.values(BLOCKS).map(({ subject }) => subject)).toEqual(
      expect.arrayContaining(["limits", "wall"]),
    );
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
});

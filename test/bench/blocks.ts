import * as v from "valibot";
import { shown, shownSpread } from "./figures.ts";
import type { Entry, Record } from "./record.ts";

const Spread = v.object({ median: v.number(), min: v.number(), max: v.number() });
const Measured = v.object({ toByHand: Spread, toFloor: Spread });
const OfRequest = v.object({ perSecond: Measured, workerdUs: Measured, postgresUs: Measured });
const Size = v.object({ raw: v.number(), gzip: v.number() });
const Pipeline = v.object({
  rounds: v.number(),
  figures: v.object({ read: OfRequest, list: OfRequest, create: OfRequest, patch: OfRequest }),
  sizes: v.object({ partywall: Size, "by hand": Size, floor: Size }),
});
const Limits = v.object({
  compared: v.array(
    v.object({
      name: v.string(),
      overWithCrash: v.number(),
      perSecond: v.number(),
      workerdUs: v.number(),
      rowsPer1000: v.number(),
      partywallTo: Spread,
    }),
  ),
  loads: v.array(v.object({ connections: v.number(), perSecond: v.record(v.string(), v.number()) })),
  ratios: v.object({ refusingIdentified: Spread }),
});
const Wall = v.object({
  rows: v.number(),
  aims: v.array(v.object({ aim: v.string(), is: v.number() })),
});

/** Titles of the limiters of `npm run bench -- limits`. */
const LIMITERS: { [name: string]: string } = {
  partywall: "partywall",
  memory: "in memory",
  stored: "stored",
  postgres: "Postgres",
  flexible: "rate-limiter-flexible",
};

const REQUESTS = {
  read: "read a row",
  list: "list 50 rows",
  create: "create a row",
  patch: "change a row",
} as const;
const requestsOf = ({ figures }: v.InferOutput<typeof Pipeline>) =>
  (["read", "list", "create", "patch"] as const).map((name) => ({ title: REQUESTS[name], ...figures[name] }));

/** A table in Markdown. */
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string[] =>
  [head, head.map(() => "---"), ...rows].map((cells) => `| ${cells.join(" | ")} |`);

/** When, where and how an entry was measured, as a sentence. */
const measured = ({ date, commit, machine, command }: Entry): string =>
  `Measured on ${date} at ${commit}: \`${command}\` (${machine}).`;

type Block = { subject: string; lines(entry: Entry): string[] };

/** What documents show of the record, by the name in `<!-- bench: name -->`: its subject, and its lines in Markdown. */
export const BLOCKS: { [name: string]: Block } = {
  pipeline: {
    subject: "pipeline",
    lines(entry) {
      const found = v.parse(Pipeline, entry.figures);
      const rows = requestsOf(found).map(({ title, perSecond, workerdUs, postgresUs }) => [
        title,
        ...[perSecond, workerdUs, postgresUs].map(({ toByHand }) => shownSpread(toByHand)),
      ]);
      const kilobytes = (name: keyof typeof found.sizes) => shown(found.sizes[name].gzip / 1000);
      return [
        ...table(["partywall to by hand", "requests/s", "workerd CPU", "Postgres CPU"], rows),
        "",
        `A read reaches ${shown(found.figures.read.perSecond.toFloor.median, 2)} of the floor's requests/s.`,
        `The bundle is ${kilobytes("partywall")} KB gzipped, by hand ${kilobytes("by hand")}, the floor ${kilobytes("floor")}.`,
        "",
        `The ratios are medians of ${found.rounds} rounds, with the lowest and highest round.`,
        measured(entry),
      ];
    },
  },
  limits: {
    subject: "limits",
    lines(entry) {
      const { compared, loads, ratios } = v.parse(Limits, entry.figures);
      const [few, ...more] = loads;
      const row = (title: string, cell: (each: (typeof compared)[number]) => string) => [
        title,
        ...compared.map(cell),
      ];
      const isOther = ({ name }: { name: string }) => name !== "partywall";
      return [
        ...table(
          ["", ...compared.map(({ name }) => LIMITERS[name] ?? name)],
          [
            row("admitted over the limit", ({ overWithCrash }) => shown(overWithCrash)),
            row("rows written for 1,000 admitted", ({ rowsPer1000 }) =>
              shown(rowsPer1000, rowsPer1000 < 100 ? 1 : 0),
            ),
            row(`requests/s, ${few?.connections} connections`, ({ perSecond }) => shown(perSecond)),
            ...more.map(({ connections, perSecond }) =>
              row(`requests/s, ${connections} connections`, ({ name }) =>
                shown(perSecond[name] ?? Number.NaN),
              ),
            ),
            row(`partywall's requests/s to it, at ${few?.connections}`, (each) =>
              isOther(each) ? shown(each.partywallTo.median, 2) : "",
            ),
            row("workerd CPU, µs a request", ({ workerdUs }) => shown(workerdUs)),
          ],
        ),
        "",
        "A refusal, which asks neither the object nor the database, reaches",
        `${shown(ratios.refusingIdentified.median, 2)} times the requests/s of a constant 429 behind the same token.`,
        measured(entry),
      ];
    },
  },
  wall: {
    subject: "wall",
    lines(entry) {
      const { rows, aims } = v.parse(Wall, entry.figures);
      const is = (aim: string) => aims.find((each) => each.aim === aim)?.is ?? Number.NaN;
      return [
        "What the signed context costs as whole requests on loopback:",
        `${shown(is("whole reads to by hand, median"), 2)} of the same batch by hand for a read and`,
        `${shown(is("whole writes to by hand, median"), 2)} for a write, with ${shown(rows)} rows (medians over statements and tenants).`,
        measured(entry),
      ];
    },
  },
  // README's: the shortest that is still true.
  ratios: {
    subject: "pipeline",
    lines({ figures }) {
      const rows = requestsOf(v.parse(Pipeline, figures))
        .filter(({ title }) => title !== REQUESTS.patch)
        .map(({ title, perSecond, workerdUs }) => [
          title,
          shown(perSecond.toByHand.median, 2),
          shown(workerdUs.toByHand.median, 2),
        ]);
      return table(["`npm run bench -- pipeline`", "requests/s", "workerd CPU"], rows);
    },
  },
};

const MARKED = /<!-- bench: (\w+) -->\n([\s\S]*?)<!-- end of bench -->/g;

/** The blocks of a document, each with what it shows, and what the record says: undefined where that has not its subject. */
export const blocksOf = (markdown: string, record: Record) =>
  [...markdown.matchAll(MARKED)].map(([, name = "", shows = ""]) => {
    const block = BLOCKS[name];
    if (!block)
      throw new Error(
        `There is no block ${name}. test/bench/blocks.ts has ${Object.keys(BLOCKS).join(", ")}.`,
      );
    const entry = record[block.subject];
    return { name, subject: block.subject, shows, says: entry && block.lines(entry).join("\n") };
  });

/** The document with its blocks as the record says; those of subjects that the record has not stay as they are. */
export const withBlocks = (markdown: string, record: Record): string =>
  blocksOf(markdown, record).reduce(
    (text, { name, shows, says }) =>
      says === undefined
        ? text
        : text.replace(
            `<!-- bench: ${name} -->\n${shows}<!-- end of bench -->`,
            () => `<!-- bench: ${name} -->\n\n${says}\n\n<!-- end of bench -->`,
          ),
    markdown,
  );

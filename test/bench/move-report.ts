import { DEFAULT_RATE } from "../../drizzle/moves/commands.ts";
import { aimsTable, type Aim } from "./aims.ts";
import { ratio, shown, shownSpread, spread, table } from "./figures.ts";
import type { Filled } from "./grounds.ts";
import {
  FENCED_REQUESTS,
  FENCES,
  RETRY_MS,
  WRITERS,
  type Copy,
  type Fenced,
  type Held,
  type Rate,
} from "./move-parts.ts";
import type { Options, Result } from "./subject.ts";

/** What was measured; a part that was not wanted is missing. */
export type Found = { fences?: Fenced; rate?: Rate; copy?: Copy; held?: Map<Filled, Held[]> };

type Part = { data: object; text: string[]; aims: Aim[] };

/** The figures of a move, and for people with what is behind them. */
export function reportMove(options: Options, { fences, rate, copy, held }: Found): Result {
  const parts = {
    ...(held && { held: heldPart(held) }),
    ...(rate && { rate: ratePart(rate) }),
    ...(copy && { copy: copyPart(copy) }),
    ...(fences && { fences: fencesPart(options, fences) }),
  };
  const all = Object.values(parts);
  return {
    data: Object.fromEntries(Object.entries(parts).map(([name, { data }]) => [name, data])),
    text: [...all.flatMap(({ text }) => text), aimsTable(all.flatMap(({ aims }) => aims))].join("\n\n"),
  };
}

function heldPart(held: Map<Filled, Held[]>): Part {
  const figures = [...held].map(([{ rows }, moves]) => {
    const of = (key: "heldMs" | "gapMs" | "calmGapMs" | "refused" | "slowestMs" | "acknowledged") =>
      spread(moves.map((each) => each[key]));
    return {
      rows,
      heldMs: of("heldMs"),
      gapMs: of("gapMs"),
      calmGapMs: of("calmGapMs"),
      refused: of("refused"),
      slowestMs: of("slowestMs"),
      acknowledged: of("acknowledged"),
      copiedPerSecond: spread(moves.map((each) => each.rows / each.seconds.copying)),
    };
  });
  const largest = figures.at(-1);
  const moves = [...held.values()][0]?.length ?? 0;
  return {
    data: { moves, figures },
    text: [
      [
        `Writes are held while a tenant moves shared → schema → dedicated → shared, ${moves} moves without a limit, between two`,
        `servers: median (lowest–highest). ${WRITERS.connections} clients write ${shown((WRITERS.connections * 1000) / WRITERS.everyMs)} times a second; a refused write comes again after ${RETRY_MS} ms until it is`,
        "acknowledged, and all were. Slowest: from its first asking to its acknowledgement. The last column is the longest gap",
        "when nothing moves.",
      ].join("\n"),
      table(
        [
          "rows",
          "held ms",
          "longest gap ms",
          "slowest write ms",
          "refused",
          "writes",
          "rows/s",
          "calm gap ms",
        ],
        figures.map((each) => [
          shown(each.rows),
          shownSpread(each.heldMs, 0),
          shownSpread(each.gapMs, 0),
          shownSpread(each.slowestMs, 0),
          shownSpread(each.refused, 0),
          shown(each.acknowledged.median),
          shown(each.copiedPerSecond.median),
          shownSpread(each.calmGapMs, 0),
        ]),
      ),
    ],
    aims: [
      {
        aim: `writes of a tenant of ${shown(largest?.rows ?? NaN)} rows are held, ms, median`,
        most: 500,
        is: largest?.heldMs.median ?? NaN,
      },
      { aim: "the same, worst", most: 500, is: largest?.heldMs.max ?? NaN },
    ],
  };
}

function ratePart({ perSecond, before, during }: Rate): Part {
  const of = (outcomes: Rate["before"], key: "p50" | "p99") => outcomes.map((outcome) => outcome[key]);
  const p50 = ratio(of(during, "p50"), of(before, "p50"));
  const p99 = ratio(of(during, "p99"), of(before, "p99"));
  const row = (key: "p50" | "p99", toBefore: typeof p50) => [
    `${key}, ms`,
    shownSpread(spread(of(before, key)), 1),
    shownSpread(spread(of(during, key)), 1),
    shownSpread(toBefore),
  ];
  return {
    data: { perSecond, p50, p99, beforeP99: spread(of(before, "p99")), duringP99: spread(of(during, "p99")) },
    text: [
      `At the default rate of ${shown(DEFAULT_RATE)} rows a second, ${shown(perSecond)} were copied, inside one server. Meanwhile another tenant there reads\nand writes 400 times a second:`,
      table(["", "before", "during the copying", "ratio"], [row("p50", p50), row("p99", p99)]),
    ],
    aims: [
      {
        aim: "another tenant's p99 during a copying at the default rate, to before",
        most: 1.5,
        is: p99.median,
      },
    ],
  };
}

function copyPart({ copied, compared, erased, floor }: Copy): Part {
  const toFloor = ratio(copied, floor);
  return {
    data: {
      copied: spread(copied),
      compared: spread(compared),
      erased: spread(erased),
      floor: spread(floor),
      toFloor,
    },
    text: [
      `Without a limit, from one server to the other and back, ${copied.length} times: median (lowest–highest). COPY is what pg_dump | psql does:\nstreamed into tables whose keys and indexes are made afterwards, by a superuser.`,
      table(
        ["", "rows/s"],
        [
          ["copied", shownSpread(spread(copied), 0)],
          ["COPY", shownSpread(spread(floor), 0)],
          ["copied to COPY", shownSpread(toFloor)],
          ["compared", shownSpread(spread(compared), 0)],
          ["erased, of an earlier move", shownSpread(spread(erased), 0)],
        ],
      ),
    ],
    aims: [{ aim: "rows copied a second, to COPY", least: 0.3, is: toFloor.median }],
  };
}

function fencesPart({ rounds, seconds, connections }: Options, fences: Fenced): Part {
  const toNone = (name: (typeof FENCED_REQUESTS)[number], with_: (typeof FENCES)[number]) =>
    ratio(fences[name][with_], fences[name]["no fence"]);
  const figures = Object.fromEntries(
    FENCED_REQUESTS.map((name) => [
      name,
      {
        noFence: spread(fences[name]["no fence"]),
        othersFenced: toNone(name, "200 others fenced"),
        logged: toNone(name, "logged"),
      },
    ]),
  );
  return {
    data: { rounds, seconds, connections, figures },
    text: [
      `Whole requests a second over ${connections} connections: of a tenant without a fence, and as many times that with 200 other tenants fenced\nand with the tenant's changes logged. Medians of ${rounds} rounds of ${seconds} s, interleaved.`,
      table(
        ["request", "no fence", "200 others fenced", "logged"],
        FENCED_REQUESTS.map((name) => [
          name,
          shownSpread(spread(fences[name]["no fence"]), 0),
          shownSpread(toNone(name, "200 others fenced")),
          shownSpread(toNone(name, "logged")),
        ]),
      ),
    ],
    aims: FENCED_REQUESTS.map((name) => ({
      aim: `${name}, requests/s with others fenced, to none`,
      least: 0.97,
      is: toNone(name, "200 others fenced").median,
    })),
  };
}

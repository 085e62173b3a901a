import { getTableColumns, getTableName, is, SQL } from "drizzle-orm";
import { getTableConfig, PgDialect, type PgColumn, type PgTable } from "drizzle-orm/pg-core";
import * as v from "valibot";
import { postgresFault } from "../db/client.ts";
import { Problem } from "../problem.ts";
import { Day, Uuid } from "../values.ts";
import { MAX_FAULTS, type Fault } from "./faults.ts";

/** Whether a value fits a column, and what it has to be. */
type Fit = { fits: (value: unknown) => boolean; wanted: string };
/** Of a column of Drizzle's, what not every kind has. */
type Kind = { length?: number; precision?: number; scale?: number; baseColumn?: PgColumn };

/** The bits of each kind of whole number, by Drizzle's names. */
const BITS: Record<string, number> = {
  PgSmallInt: 16,
  PgSmallSerial: 16,
  PgInteger: 32,
  PgSerial: 32,
  PgBigInt53: 64,
  PgBigInt64: 64,
  PgBigSerial53: 64,
  PgBigSerial64: 64,
};
const dialect = new PgDialect();
/** A decimal number without leading zeros: its digits before the point, and after it. */
const DECIMAL = /^[+-]?(?=\.?\d)0*(\d*)\.?(\d*)$/;

function whole(bits: number): Fit {
  const end = 2n ** BigInt(bits - 1);
  const isWhole = (value: unknown): value is number | bigint =>
    typeof value === "bigint" || (typeof value === "number" && Number.isInteger(value));
  return {
    fits: (value) => isWhole(value) && BigInt(value) >= -end && BigInt(value) < end,
    wanted: `a whole number of ${bits} bits`,
  };
}

/** Postgres rounds what it has no room for after the point, and refuses what it has no room for before it. */
function decimal(precision: number, scale: number): Fit {
  const end = 10n ** BigInt(precision);
  return {
    fits(value) {
      const [, before, after = ""] = DECIMAL.exec(String(value)) ?? [];
      if (before === undefined || before.length > precision - scale) return false;
      const roundsUp = Number(after[scale] ?? 0) >= 5 ? 1n : 0n;
      return BigInt(before + after.slice(0, scale).padEnd(scale, "0")) + roundsUp < end;
    },
    wanted: `a number with at most ${precision - scale} digits before the decimal point`,
  };
}

/** What a value of the column has to be; undefined where only Postgres can tell, or where any will do. */
function fitOf(column: PgColumn): Fit | undefined {
  const { columnType, enumValues } = column;
  const { length, precision, scale = 0, baseColumn } = column as Kind;
  const bits = BITS[columnType];
  if (bits !== undefined) return whole(bits);
  if (enumValues)
    return { fits: (value) => enumValues.includes(String(value)), wanted: `one of ${enumValues.join(", ")}` };
  switch (columnType) {
    case "PgArray": {
      const one = baseColumn && fitOf(baseColumn);
      return (
        one && {
          fits: (value) => Array.isArray(value) && value.every(one.fits),
          wanted: `each ${one.wanted}`,
        }
      );
    }
    case "PgNumeric":
    case "PgNumericNumber":
    case "PgNumericBigInt":
      return precision === undefined ? undefined : decimal(precision, scale);
    case "PgReal":
      return { fits: (value) => Math.abs(Number(value)) < 2 ** 128, wanted: "a number of 32 bits" };
    case "PgChar":
    case "PgVarchar":
      return length === undefined
        ? undefined
        : {
            fits: (value) => Array.from(String(value)).length <= length,
            wanted: `at most ${length} characters`,
          };
    case "PgUUID":
      return { fits: (value) => v.is(Uuid, value), wanted: "a UUID" };
    case "PgDateString":
      return { fits: (value) => v.is(Day, value), wanted: "a day of the calendar, such as 2026-12-24" };
    default:
      return undefined;
  }
}

const faultAt = (name: string | undefined, detail: string): Fault => ({
  pointer: name === undefined ? "" : `/${name}`,
  detail,
});

type Fitting = {
  /** Throws `invalid_input` that points at each value which its column cannot hold. */
  checkFit: (values: Record<string, unknown>) => void;
  /**
   * Makes `invalid_input` of what Postgres refuses to write because of a value, and `value_taken` where another row has
   * it or excludes it; rethrows the rest.
   */
  refuseMisfit: (error: unknown) => never;
  /** Whether a row may have a value that another one has already. */
  mayCollide: boolean;
};

/**
 * What a table's columns can hold, so that a value that does not fit is the client's fault (422), and no error of the
 * server: by their types before anything is sent, and by the table's keys, CHECKs and NOT NULLs when Postgres refuses the
 * write.
 */
export function fitting(table: PgTable): Fitting {
  const named = Object.entries(getTableColumns(table));
  const nameOf = (column: string) => named.find(([, { name }]) => name === column)?.[0];
  const fits = named.flatMap(([name, column]) => {
    const fit = fitOf(column);
    return fit ? [{ name, ...fit }] : [];
  });
  const { foreignKeys, checks, indexes, uniqueConstraints } = getTableConfig(table);
  const byConstraint = new Map<string, Fault>();
  for (const key of foreignKeys) {
    const { columns, foreignTable } = key.reference();
    const name = nameOf(columns.at(-1)?.name ?? "");
    byConstraint.set(key.getName(), faultAt(name, `There is no such row in ${getTableName(foreignTable)}.`));
  }
  for (const { name, value } of checks) {
    const { sql: text } = dialect.sqlToQuery(value);
    const about = named.flatMap(([own, column]) =>
      new RegExp(`\\b${column.name}\\b`).test(text) ? [own] : [],
    );
    // A CHECK of several columns is about none of them alone.
    byConstraint.set(
      name,
      about.length > 1
        ? faultAt(undefined, `Values that are not allowed together: ${about.join(", ")}.`)
        : faultAt(about[0], "Not a value that is allowed."),
    );
  }
  const uniques = new Map<string, Fault>();
  const addUnique = (name: string | undefined, columns: { name?: string | undefined }[]) => {
    const own = columns.filter((column) => column.name !== "tenant_id");
    const about = own.length === 1 ? nameOf(own[0]?.name ?? "") : undefined;
    uniques.set(name ?? "", faultAt(about, "Another row has it."));
  };
  for (const { config } of indexes) if (config.unique) addUnique(config.name, config.columns as object[]);
  for (const { columns, name } of uniqueConstraints) addUnique(name, columns);

  return {
    mayCollide: uniques.size > 0,
    checkFit(values) {
      const faults = fits.flatMap(({ name, fits: isFit, wanted }) => {
        const value = values[name];
        const isMissing = value === undefined || value === null || is(value, SQL);
        return isMissing || isFit(value) ? [] : [faultAt(name, `Expected ${wanted}.`)];
      });
      if (faults.length > 0) throw new Problem("invalid_input", { errors: faults.slice(0, MAX_FAULTS) });
    },
    refuseMisfit(error) {
      const { code, constraint = "", column = "" } = postgresFault(error) ?? {};
      const taken =
        code === "23505"
          ? uniques.get(constraint)
          : // Of an exclusion constraint, which Drizzle has no word for.
            code === "23P01" && faultAt(undefined, "It is in the way of another row.");
      if (taken) throw new Problem("value_taken", { errors: [taken], cause: error });
      const fault =
        code === "23502"
          ? faultAt(nameOf(column), "Required.")
          : /^235(03|14)$/.test(code ?? "") && byConstraint.get(constraint);
      if (fault) throw new Problem("invalid_input", { errors: [fault], cause: error });
      throw error;
    },
  };
}

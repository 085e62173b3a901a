import * as v from "valibot";
import { Day } from "../values.ts";

// Values that the product's routes take.

/** A text of a line or two, without spaces around it. */
export const textOf = (maxLength: number) =>
  v.pipe(v.string(), v.trim(), v.minLength(1), v.maxLength(maxLength));

export const Currency = v.pipe(
  v.string(),
  v.length(3),
  v.regex(/^[A-Z]{3}$/, "a code of ISO 4217"),
  v.examples(["EUR"]),
);

export const DueOn = v.optional(v.nullable(Day));

export const MediaType = v.pipe(
  v.string(),
  v.maxLength(127),
  v.regex(/^[\w.+-]+\/[\w.+-]+$/, "a media type"),
  v.examples(["application/pdf"]),
);

/** The SHA-256 of a file. */
export const Sha256 = v.pipe(
  v.string(),
  v.length(64),
  v.regex(/^[0-9a-f]{64}$/, "64 hexadecimal digits in lower case"),
  v.examples(["0f".repeat(32)]),
);

import fc, { type Arbitrary } from "fast-check";

const known = new Map<string, Arbitrary<string>>();

/** Texts that a pattern matches. Kept for the next who asks: making the arbitrary takes longer than making the texts. */
export function matching(pattern: string, flags = ""): Arbitrary<string> {
  const expression = new RegExp(pattern, flags);
  const found = known.get(String(expression)) ?? fc.stringMatching(expression);
  known.set(String(expression), found);
  return found;
}

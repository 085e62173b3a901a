const OLDEST = [22, 13] as const;

/** Throws one sentence where this Node is too old: it would fail in the middle, on what it does not know. */
export function requireNode(): void {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  if (major > OLDEST[0] || (major === OLDEST[0] && minor >= OLDEST[1])) return;
  throw new Error(
    `offline-neon-endpoint needs Node ${OLDEST.join(".")} or later, and this is ${process.versions.node}.`,
  );
}

#!/usr/bin/env node
import { requireNode } from "./engine.ts";

try {
  requireNode();
  // Only now: what it imports is not there in an old Node.
  await import("./main.ts");
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

import { reset } from "cloudflare:test";
import { forgetAll } from "../../../src/memory.ts";

// Runs before each file. Its Worker starts with nothing remembered, as in a new isolate, though workerd has run others;
// what those left behind is gone, such as an object's alarm that would write to the log in the middle of a test.
await reset();
forgetAll();

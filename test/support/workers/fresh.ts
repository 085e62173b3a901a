import { vi } from "vitest";

// Runs before each file. Its Worker starts with nothing remembered, as in a new isolate, though workerd has run others.
vi.resetModules();

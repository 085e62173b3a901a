import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "postgresql",
  schema: "./test/support/product/schema.ts",
  out: "./test/support/product/migrations",
});

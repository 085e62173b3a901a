import { defineConfig } from "drizzle-kit";

export default defineConfig({
  dialect: "postgresql",
  schema: ["./src/db/control.ts", "./src/db/site.ts", "./src/product/schema.ts"],
  out: "./drizzle/migrations",
});

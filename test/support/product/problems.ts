/** As src/product/problems.ts. */
export const PRODUCT_PROBLEMS = {
  project_full: { status: 409, title: "The project is full", help: "Delete some of its tasks first." },
} as const;

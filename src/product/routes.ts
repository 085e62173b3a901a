import { factory } from "../context.ts";
import { projectRoutes } from "./projects.ts";
import { projectTaskRoutes, taskRoutes } from "./tasks.ts";

/** The routes of what is built on partywall. They are mounted at `/v1`, behind identify and admit. */
export const productRoutes = factory
  .createApp()
  .route("/projects", projectRoutes)
  .route("/projects", projectTaskRoutes)
  .route("/tasks", taskRoutes);

import { factory } from "./context.ts";
import { allowedOrigins, answerProblem, limitedBody, observe } from "./http/request.ts";
import { jsonBodies } from "./http/valid.ts";
import { identify } from "./identity/identify.ts";
import { Problem } from "./problem.ts";
import { me } from "./routes/me.ts";
import { describeApi, platform } from "./routes/platform.ts";
import { operator } from "./routes/operator.ts";
import { projectRoutes } from "./routes/projects.ts";
import { ownSessions } from "./routes/sessions.ts";
import { signIns, signup } from "./routes/sign-in.ts";
import { projectTasks, taskRoutes } from "./routes/tasks.ts";
import { tenant } from "./routes/tenant.ts";
import { admit } from "./tenant/admit.ts";

/** The way of a request: gateway, then routes without a token, then identify and admit before those with one. */
export const app = factory
  .createApp()
  .use(observe, allowedOrigins, limitedBody, jsonBodies)
  .route("/", platform)

  .route("/v1/signup", signup)
  .route("/v1/sessions", signIns)
  .route("/v1/operator", operator)

  .use("/v1/*", identify, admit)
  .route("/v1/me", me)
  .route("/v1/sessions", ownSessions)
  .route("/v1/tenant", tenant)
  .route("/v1/projects", projectRoutes)
  .route("/v1/projects", projectTasks)
  .route("/v1/tasks", taskRoutes)

  .notFound(() => {
    throw new Problem("not_found");
  })
  .onError(answerProblem);

app.get("/openapi.json", describeApi(app));

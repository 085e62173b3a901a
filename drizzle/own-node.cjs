// Required before anything else, and CommonJS without types: the Node that is too old has to be able to read it.
const fs = require("node:fs");
const path = require("node:path");

const OLDEST = [22, 18];

const [major, minor] = process.versions.node.split(".").map(Number);
if (major < OLDEST[0] || (major === OLDEST[0] && minor < OLDEST[1])) {
  const isThere = fs.existsSync(path.join(__dirname, "../node_modules/node/bin/node"));
  console.error(
    `This needs Node ${OLDEST.join(".")} or later, and runs on ${process.versions.node}: ` +
      (isThere
        ? "the project's own Node is what `npm run …` and `npx node …` start."
        : "the project's own Node is missing, because npm was told to run no scripts. " +
          "Run `npm rebuild node --ignore-scripts=false`, then try again."),
  );
  process.exit(1);
}

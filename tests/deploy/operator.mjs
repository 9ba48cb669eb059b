// Holds objects of the Prometheus operator, given as JSON, against its types, and
// prints what is wrong as a list of sentences. The validators know values that are of
// a wrong type; the compiler of TypeScript also knows keys that do not exist.

import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { readFileSync } from "node:fs";

const modules = process.env.NODE_PATH;
const require = createRequire(join(modules, "any.js"));
const ts = require("typescript");
const types = join(modules, "@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1");
const known = ["PodMonitor", "PrometheusRule", "ServiceMonitor"];

const objects = JSON.parse(readFileSync(0, "utf8"));
const faults = [];
for (const { name, item } of objects) {
  const where = `${name}: ${item.kind} ${item.metadata.name}`;
  if (!known.includes(item.kind)) {
    faults.push(`${where}: nobody knows this kind`);
    continue;
  }
  const { [item.kind]: Model } = await import(pathToFileURL(join(types, `${item.kind}.js`)));
  try {
    new Model(item).validate();
  } catch (error) {
    faults.push(`${where}: ${error.message}`);
  }
}
faults.push(...unknownKeys(objects.filter(({ item }) => known.includes(item.kind))));
console.log(JSON.stringify(faults));

// Each object as the literal of a variable of its type, which may have no other keys.
function unknownKeys(objects) {
  const file = join(modules, "objects.ts");
  const lines = known.map((kind) => `import type { I${kind} } from ${JSON.stringify(join(types, kind))};`);
  for (const [n, { item }] of objects.entries()) {
    lines.push(`const object${n}: I${item.kind} = ${JSON.stringify(item)};`);
  }
  const source = lines.join("\n");
  const options = {
    noEmit: true,
    strict: true,
    skipLibCheck: true,
    types: [],
    module: ts.ModuleKind.ESNext,
    moduleResolution: ts.ModuleResolutionKind.Bundler,
    target: ts.ScriptTarget.ES2022,
  };
  const host = ts.createCompilerHost(options);
  const { readFile, fileExists, getSourceFile } = host;
  host.fileExists = (path) => path === file || fileExists(path);
  host.readFile = (path) => (path === file ? source : readFile(path));
  host.getSourceFile = (path, ...rest) =>
    path === file
      ? ts.createSourceFile(path, source, options.target)
      : getSourceFile.call(host, path, ...rest);
  const program = ts.createProgram([file], options, host);
  return ts.getPreEmitDiagnostics(program).map((found) => {
    const line = found.file?.getLineAndCharacterOfPosition(found.start).line ?? -1;
    const object = objects[line - known.length];
    const text = ts.flattenDiagnosticMessageText(found.messageText, ": ");
    return object ? `${object.name}: ${object.item.kind} ${object.item.metadata.name}: ${text}` : text;
  });
}

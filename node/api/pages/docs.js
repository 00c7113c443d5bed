// Shows /openapi.json. Text goes into the page as text only, never as markup.
"use strict";

function element(name, text, children = []) {
  const made = document.createElement(name);
  made.textContent = text;
  made.append(...children);
  return made;
}

// "`a` b" becomes code and text.
function prose(name, text) {
  const parts = text.split("`").map((part, index) => element(index % 2 ? "code" : "span", part));
  return element(name, "", parts);
}

function description(text) {
  return text.split("\n\n").map((block) => {
    const items = block.split("\n").filter((line) => line.startsWith("- "));
    return items.length
      ? element("ul", "", items.map((line) => prose("li", line.slice(2))))
      : prose("p", block);
  });
}

function typeOf(schema) {
  if (!schema) return "bytes";
  if (schema.$ref) return schema.$ref.split("/").pop();
  if (schema.type === "array") return "list of " + typeOf(schema.items);
  if (schema.anyOf) return schema.anyOf.map(typeOf).join(" or ");
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  return schema.type || "anything";
}

function row(...cells) {
  return element("tr", "", cells.map((cell) => prose("td", cell)));
}

function table(rows) {
  return element("table", "", [element("tbody", "", rows)]);
}

function contentRows(label, about, content) {
  return Object.entries(content).map(([media, { schema }]) => row(label, about, media, typeOf(schema)));
}

function operation(method, path, said) {
  const parameters = said.parameters.map((one) => row("`" + one.name + "`", one.in, one.schema.type, one.description));
  const body = said.requestBody ? contentRows("body", "", said.requestBody.content) : [];
  const answers = Object.entries(said.responses).flatMap(([status, answer]) =>
    answer.content ? contentRows(status, answer.description, answer.content) : [row(status, answer.description)]);
  const summary = element("summary", "", [
    element("code", method.toUpperCase() + " " + path),
    element("span", " level " + said["x-level"]),
  ]);
  return element("details", "", [summary, prose("p", said.summary), table([...parameters, ...body]), table(answers)]);
}

function schemaTable(name, schema) {
  const rows = Object.entries(schema.properties || {}).map(([field, one]) =>
    row("`" + field + "`", typeOf(one), one.description || ""));
  return element("details", "", [element("summary", "", [element("code", name)]),
    element("p", schema.description || ""), table(rows)]);
}

async function show() {
  const page = document.getElementById("routes");
  try {
    const said = await (await fetch("/openapi.json")).json();
    const groups = new Map();
    for (const [path, methods] of Object.entries(said.paths)) {
      for (const [method, one] of Object.entries(methods)) {
        const group = groups.get(one.tags[0]) || groups.set(one.tags[0], []).get(one.tags[0]);
        group.push(operation(method, path, one));
      }
    }
    page.append(...description(said.info.description));
    for (const [tag, operations] of groups) page.append(element("h2", tag), ...operations);
    page.append(element("h2", "shapes"),
      ...Object.entries(said.components.schemas).map(([name, schema]) => schemaTable(name, schema)));
  } catch (error) {
    page.append(element("p", "The document cannot be shown: " + error));
  }
}

show();

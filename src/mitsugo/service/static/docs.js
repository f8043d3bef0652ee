// Show what openapi.json says: every route, its fields, and how to ask by curl.

const METHODS = ["get", "post", "put", "patch", "delete"];

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  if (className) made.className = className;
  return made;
}

function fieldsOf(operation, schemas) {
  const fields = (operation.parameters ?? []).map((one) => ({
    name: one.name,
    where: one.in,
    required: one.required === true,
    said: one.description ?? one.schema?.description ?? "",
  }));
  for (const [type, content] of Object.entries(operation.requestBody?.content ?? {})) {
    const named = content.schema?.$ref?.split("/").pop();
    const schema = named ? schemas[named] : content.schema ?? {};
    for (const [name, property] of Object.entries(schema.properties ?? {})) {
      const required = (schema.required ?? []).includes(name);
      fields.push({ name, where: type, required, said: property.description ?? "" });
    }
  }
  return fields;
}

function tableOf(fields) {
  const table = element("table");
  for (const field of fields) {
    const row = element("tr");
    const name = element("td");
    name.append(element("code", field.name));
    row.append(name, element("td", field.required ? "required" : "optional"));
    row.append(element("td", field.where), element("td", field.said));
    table.append(row);
  }
  return table;
}

function curlOf(method, path, operation) {
  const words = ["curl"];
  if (method !== "get") words.push("-X", method.toUpperCase());
  const content = operation.requestBody?.content ?? {};
  if ("multipart/form-data" in content) {
    for (const name of content["multipart/form-data"].schema.required) {
      words.push("-F", name === "image" ? "image=@part.png" : `${name}=…`);
    }
  } else if ("application/json" in content) {
    words.push("-H", "'Content-Type: application/json'", "-d", "'{}'");
  }
  return [...words, location.origin + path].join(" ");
}

function sectionOf(method, path, operation, schemas) {
  const section = element("section");
  const title = element("h2");
  title.append(element("span", method.toUpperCase(), "method"), element("span", path, "path"));
  section.append(title, element("p", operation.description ?? ""));
  const fields = fieldsOf(operation, schemas);
  if (fields.length) section.append(tableOf(fields));
  section.append(element("pre", curlOf(method, path, operation)));
  return section;
}

async function show() {
  const routes = document.getElementById("routes");
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`openapi.json: ${answer.status}`);
  const told = await answer.json();
  const schemas = told.components?.schemas ?? {};
  routes.replaceChildren();
  for (const [path, operations] of Object.entries(told.paths)) {
    for (const method of METHODS.filter((one) => one in operations)) {
      routes.append(sectionOf(method, path, operations[method], schemas));
    }
  }
}

show().catch((error) => {
  document.getElementById("routes").replaceChildren(element("p", `The routes cannot be shown: ${error.message}`));
});

// One dashboard, drawn by Perses' own panels: what to draw is in dashboard.json, as e2e/dashboards/perses.py made it.
import { ThemeProvider } from "@mui/material";
import { ChartsProvider, generateChartsTheme, getTheme, SnackbarProvider } from "@perses-dev/components";
import { DatasourceStoreProvider, Panel, VariableProvider } from "@perses-dev/dashboards";
import { DataQueriesProvider, dynamicImportPluginLoader, PluginRegistry, TimeRangeProvider, usePlugin } from "@perses-dev/plugin-system";
import * as prometheus from "@perses-dev/prometheus-plugin";
import * as stat from "@perses-dev/stat-chart-plugin";
import * as table from "@perses-dev/table-plugin";
import * as timeseries from "@perses-dev/timeseries-chart-plugin";
import { QueryClient, QueryClientProvider } from "@tanstack/react-query";
import { createRoot } from "react-dom/client";

const ROW = 38; // pixels of a row of Grafana's grid, with its gap
const STEP = 60_000; // milliseconds between the points of a line

const plugins = dynamicImportPluginLoader(
  [prometheus, stat, table, timeseries].map((module) => ({
    resource: module.getPluginModule(),
    importPlugin: () => Promise.resolve(module),
  })),
);

function datasources(url) {
  const source = {
    kind: "GlobalDatasource",
    metadata: { name: "recorded" },
    spec: { default: true, plugin: { kind: "PrometheusDatasource", spec: { directUrl: url } } },
  };
  return {
    getDatasource: async () => undefined,
    getGlobalDatasource: async () => source,
    listDatasources: async () => [],
    listGlobalDatasources: async () => [source],
    buildProxyUrl: () => url,
  };
}

function Cell({ panel }) {
  const { data: plugin } = usePlugin("Panel", panel.definition.spec.plugin.kind);
  const wanted = plugin?.queryOptions;
  const options = typeof wanted === "function" ? wanted(panel.definition.spec.plugin.spec) : wanted;
  const { x, y, w, h } = panel.place;
  const place = { gridColumn: `${x + 1} / span ${w}`, gridRow: `${y + 1} / span ${h}`, minWidth: 0 };
  if (!plugin) return <div style={place} />; // asked too early, a table would ask for lines
  return (
    <div style={place}>
      <DataQueriesProvider definitions={panel.queries} options={{ suggestedStepMs: STEP, ...options }}>
        <Panel definition={panel.definition} />
      </DataQueriesProvider>
    </div>
  );
}

function Dashboard({ shown }) {
  const theme = getTheme("light");
  const grid = { display: "grid", gridTemplateColumns: "repeat(24, 1fr)", gridAutoRows: ROW - 8, gap: 8 };
  return (
    <ThemeProvider theme={theme}>
      <ChartsProvider chartsTheme={generateChartsTheme(theme, {})}>
        <SnackbarProvider>
          <PluginRegistry pluginLoader={plugins}>
            <QueryClientProvider client={new QueryClient({ defaultOptions: { queries: { retry: 0 } } })}>
              <TimeRangeProvider timeRange={{ start: new Date(shown.start), end: new Date(shown.end) }}>
                <VariableProvider>
                  <DatasourceStoreProvider
                    dashboardResource={{ kind: "Dashboard", metadata: {}, spec: {} }}
                    datasourceApi={datasources(shown.prometheus)}
                  >
                    <h1 style={{ font: "600 20px sans-serif" }}>{shown.title}</h1>
                    <div style={grid}>
                      {shown.panels.map((panel) => (
                        <Cell key={panel.id} panel={panel} />
                      ))}
                    </div>
                  </DatasourceStoreProvider>
                </VariableProvider>
              </TimeRangeProvider>
            </QueryClientProvider>
          </PluginRegistry>
        </SnackbarProvider>
      </ChartsProvider>
    </ThemeProvider>
  );
}

const shown = await (await fetch(`${new URLSearchParams(location.search).get("dashboard")}.json`)).json();
createRoot(document.getElementById("root")).render(<Dashboard shown={shown} />);

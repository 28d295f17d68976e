// Draws one of our dashboards with Grafana's own components, of answers that a Prometheus gave:
// window.INPUT = {dashboard, answers: {panel id: {refId: [series]}}, from, to (Unix time), width}.
// What Grafana itself adds around them (variables, the choice of time, dragging) is not here.
import React from 'react';
import { createRoot } from 'react-dom/client';
import {
  FieldType, LoadingState, ThemeContext, applyFieldOverrides, createTheme, dateTime, getFieldDisplayValues,
  standardFieldConfigEditorRegistry, toDataFrame,
} from '@grafana/data';
import {
  BarGauge, BigValue, GlobalStyles, LegendDisplayMode, PanelChrome, TimeSeries, VizRepeater,
} from '@grafana/ui';
import { TableNG } from '@grafana/ui/unstable';

const { dashboard, answers, from, to, width } = window.INPUT;
const theme = createTheme({ colors: { mode: 'dark' } });
// Grafana's grid: 24 columns, rows of 30 pixels, 8 between them; above all the title.
const COLUMNS = 24, ROW = 30, GAP = 8, HEAD = 56;
const column = (width - GAP) / COLUMNS;

// What of a panel's settings counts for each field; a panel plugin registers these.
const SETTINGS = ['unit', 'min', 'max', 'decimals', 'displayName', 'noValue', 'color', 'thresholds', 'mappings'];
standardFieldConfigEditorRegistry.setInit(() =>
  SETTINGS.map((id) => ({
    id, path: id, name: id, process: (value) => value, shouldApply: () => true,
    editor: () => null, override: () => null,
  })));

const same = (text) => text;

function legend(format, labels) {
  if (format && format !== '__auto') {
    return format.replace(/{{\s*(\w+)\s*}}/g, (_, key) => labels[key] ?? '');
  }
  const { __name__, ...rest } = labels;
  const shown = Object.entries(rest).map(([key, value]) => `${key}="${value}"`);
  return `${__name__ ?? ''}${shown.length ? `{${shown.join(', ')}}` : ''}` || 'Value';
}

function asTable(panel, target, series) {
  const hidden = panel.transformations?.[0]?.options.excludeByName ?? {};
  const labels = [...new Set(series.flatMap((one) => Object.keys(one.metric)))].sort();
  return toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: series.map((one) => one.value[0] * 1000) },
      ...labels.map((name) => ({
        name, type: FieldType.string, values: series.map((one) => one.metric[name] ?? ''),
      })),
      { name: 'Value', type: FieldType.number, values: series.map((one) => +one.value[1]) },
    ].filter(({ name }) => !hidden[name]),
  });
}

function asSeries(target, one) {
  const values = one.values ?? [one.value];
  return toDataFrame({
    refId: target.refId,
    fields: [
      { name: 'Time', type: FieldType.time, values: values.map(([when]) => when * 1000) },
      {
        name: 'Value', type: FieldType.number, labels: one.metric, values: values.map(([, text]) => +text),
        config: { displayNameFromDS: legend(target.legendFormat, one.metric) },
      },
    ],
  });
}

function framesOf(panel) {
  const data = panel.targets.flatMap((target) => {
    const series = answers[panel.id]?.[target.refId] ?? [];
    return target.format === 'table' ? [asTable(panel, target, series)] : series.map((one) => asSeries(target, one));
  });
  return applyFieldOverrides({
    data, theme, fieldConfig: panel.fieldConfig, replaceVariables: same, timeZone: 'utc',
    fieldConfigRegistry: standardFieldConfigEditorRegistry,
  });
}

const SHOWN = {
  timeseries: ({ panel, data, size, range }) => (
    <TimeSeries frames={data} {...size} timeRange={range} timeZone="utc" options={panel.options}
      legend={{ ...panel.options.legend, displayMode: LegendDisplayMode.List, calcs: [] }} />
  ),
  table: ({ panel, data, size, range }) => (
    <TableNG data={data[0]} {...size} timeRange={range} structureRev={1} fieldConfig={panel.fieldConfig}
      enableSharedCrosshair={false} getActions={() => []} />
  ),
  stat: (given) => repeated(given, (one, size, count) => (
    <BigValue value={one.display} {...size} count={count} theme={theme} sparkline={one.sparkline}
      colorMode={given.panel.options.colorMode ?? 'value'} graphMode={given.panel.options.graphMode ?? 'area'}
      justifyMode="auto" textMode="auto" />
  )),
  bargauge: (given) => repeated(given, (one, size) => (
    <BarGauge value={one.display} {...size} field={one.field} theme={theme} text={{}} showUnfilled
      orientation={given.panel.options.orientation} displayMode={given.panel.options.displayMode} />
  )),
};

function repeated({ panel, data, size }, draw) {
  const { orientation, reduceOptions } = panel.options;
  const getValues = () => getFieldDisplayValues({
    data, theme, reduceOptions, fieldConfig: panel.fieldConfig, replaceVariables: same, timeZone: 'utc',
    sparkline: panel.type === 'stat',
  });
  return (
    <VizRepeater getValues={getValues} {...size} source={{ series: data }} renderCounter={0} autoGrid
      orientation={orientation === 'auto' ? 'vertical' : orientation}
      renderValue={({ value, width, height, count }) => draw(value, { width, height }, count)} />
  );
}

function Content({ panel, size }) {
  const data = framesOf(panel);
  const Shown = SHOWN[panel.type];
  const range = { from: dateTime(from * 1000), to: dateTime(to * 1000), raw: dashboard.time };
  if (data.some((frame) => frame.length)) {
    return <Shown panel={panel} data={data} size={size} range={range} />;
  }
  const middle = { display: 'flex', alignItems: 'center', justifyContent: 'center' };
  return <div style={{ ...size, ...middle, color: theme.colors.text.secondary }}>No data</div>;
}

function Panel({ panel }) {
  const { x, y, w, h } = panel.gridPos;
  const size = { width: w * column - GAP, height: h * (ROW + GAP) - GAP };
  const at = { position: 'absolute', left: GAP + x * column, top: HEAD + y * (ROW + GAP) };
  return (
    <div style={{ ...at, ...size }}>
      <PanelChrome title={panel.title} description={panel.description} {...size} loadingState={LoadingState.Done}>
        {(width, height) => <Content panel={panel} size={{ width, height }} />}
      </PanelChrome>
    </div>
  );
}

const rows = Math.max(...dashboard.panels.map(({ gridPos }) => gridPos.y + gridPos.h));
window.HEIGHT = HEAD + rows * (ROW + GAP);
createRoot(document.getElementById('root')).render(
  <ThemeContext.Provider value={theme}>
    <GlobalStyles isExtensionSidebarOpen={false} />
    <div style={{ position: 'relative', width, height: window.HEIGHT, background: theme.colors.background.canvas }}>
      <div style={{ padding: 16, fontSize: 18, fontWeight: 500 }}>{dashboard.title}</div>
      {dashboard.panels.map((panel) => <Panel key={panel.id} panel={panel} />)}
    </div>
  </ThemeContext.Provider>);

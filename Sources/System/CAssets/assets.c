// A new file gets an array here and a line in the table. A list of several files joins them.
#include "assets.h"

#pragma clang diagnostic ignored "-Wc23-extensions"

static const unsigned char app_css[] = {
#embed "assets/css/tokens.css"
    ,
#embed "assets/css/base.css"
    ,
#embed "assets/css/layout.css"
    ,
#embed "assets/css/components.css"
    ,
#embed "assets/css/charts.css"
    ,
#embed "assets/css/run.css"
    ,
#embed "assets/css/telemetry.css"
    ,
#embed "assets/css/experiments.css"
};
static const unsigned char app_js[] = {
#embed "assets/js/base.js"
    ,
#embed "assets/js/live.js"
    ,
#embed "assets/js/charts.js"
    ,
#embed "assets/js/log.js"
    ,
#embed "assets/js/explore.js"
    ,
#embed "assets/js/promql.js"
    ,
#embed "assets/js/experiments.js"
};
static const unsigned char icons_svg[] = {
#embed "assets/icons.svg"
};
static const unsigned char favicon_svg[] = {
#embed "assets/favicon.svg"
};
static const unsigned char template_action[] = {
#embed "assets/templates/action.mustache"
};
static const unsigned char template_approvals[] = {
#embed "assets/templates/approvals.mustache"
};
static const unsigned char template_badge[] = {
#embed "assets/templates/badge.mustache"
};
static const unsigned char template_calendar[] = {
#embed "assets/templates/calendar.mustache"
};
static const unsigned char template_dataset[] = {
#embed "assets/templates/dataset.mustache"
};
static const unsigned char template_datasets[] = {
#embed "assets/templates/datasets.mustache"
};
static const unsigned char template_dora[] = {
#embed "assets/templates/dora.mustache"
};
static const unsigned char template_doracard[] = {
#embed "assets/templates/doracard.mustache"
};
static const unsigned char template_elapsed[] = {
#embed "assets/templates/elapsed.mustache"
};
static const unsigned char template_empty[] = {
#embed "assets/templates/empty.mustache"
};
static const unsigned char template_events[] = {
#embed "assets/templates/events.mustache"
};
static const unsigned char template_experiments[] = {
#embed "assets/templates/experiments.mustache"
};
static const unsigned char template_experiment[] = {
#embed "assets/templates/experiment.mustache"
};
static const unsigned char template_trackedrun[] = {
#embed "assets/templates/trackedrun.mustache"
};
static const unsigned char template_compareruns[] = {
#embed "assets/templates/compareruns.mustache"
};
static const unsigned char template_curvefields[] = {
#embed "assets/templates/curvefields.mustache"
};
static const unsigned char template_facts[] = {
#embed "assets/templates/facts.mustache"
};
static const unsigned char template_figure[] = {
#embed "assets/templates/figure.mustache"
};
static const unsigned char template_gate[] = {
#embed "assets/templates/gate.mustache"
};
static const unsigned char template_head[] = {
#embed "assets/templates/head.mustache"
};
static const unsigned char template_layout[] = {
#embed "assets/templates/layout.mustache"
};
static const unsigned char template_login[] = {
#embed "assets/templates/login.mustache"
};
static const unsigned char template_loglines[] = {
#embed "assets/templates/loglines.mustache"
};
static const unsigned char template_model[] = {
#embed "assets/templates/model.mustache"
};
static const unsigned char template_modelversion[] = {
#embed "assets/templates/modelversion.mustache"
};
static const unsigned char template_models[] = {
#embed "assets/templates/models.mustache"
};
static const unsigned char template_monitor[] = {
#embed "assets/templates/monitor.mustache"
};
static const unsigned char template_monitors[] = {
#embed "assets/templates/monitors.mustache"
};
static const unsigned char template_nav[] = {
#embed "assets/templates/nav.mustache"
};
static const unsigned char template_notice[] = {
#embed "assets/templates/notice.mustache"
};
static const unsigned char template_overview[] = {
#embed "assets/templates/overview.mustache"
};
static const unsigned char template_pipeline[] = {
#embed "assets/templates/pipeline.mustache"
};
static const unsigned char template_testlist[] = {
#embed "assets/templates/testlist.mustache"
};
static const unsigned char template_pipelines[] = {
#embed "assets/templates/pipelines.mustache"
};
static const unsigned char template_problem[] = {
#embed "assets/templates/problem.mustache"
};
static const unsigned char template_queue[] = {
#embed "assets/templates/queue.mustache"
};
static const unsigned char template_resource[] = {
#embed "assets/templates/resource.mustache"
};
static const unsigned char template_resources[] = {
#embed "assets/templates/resources.mustache"
};
static const unsigned char template_run[] = {
#embed "assets/templates/run.mustache"
};
static const unsigned char template_runners[] = {
#embed "assets/templates/runners.mustache"
};
static const unsigned char template_runs[] = {
#embed "assets/templates/runs.mustache"
};
static const unsigned char template_runtable[] = {
#embed "assets/templates/runtable.mustache"
};
static const unsigned char template_service[] = {
#embed "assets/templates/service.mustache"
};
static const unsigned char template_services[] = {
#embed "assets/templates/services.mustache"
};
static const unsigned char template_status[] = {
#embed "assets/templates/status.mustache"
};
static const unsigned char template_tabs[] = {
#embed "assets/templates/tabs.mustache"
};
static const unsigned char template_toneicon[] = {
#embed "assets/templates/toneicon.mustache"
};
static const unsigned char template_when[] = {
#embed "assets/templates/when.mustache"
};
static const unsigned char template_dashboard[] = {
#embed "assets/templates/dashboard.mustache"
};
static const unsigned char template_dashboards[] = {
#embed "assets/templates/dashboards.mustache"
};
static const unsigned char template_explore[] = {
#embed "assets/templates/explore.mustache"
};
static const unsigned char template_explorelogs[] = {
#embed "assets/templates/explorelogs.mustache"
};
static const unsigned char template_exploretraces[] = {
#embed "assets/templates/exploretraces.mustache"
};
static const unsigned char template_graph[] = {
#embed "assets/templates/graph.mustache"
};
static const unsigned char template_import[] = {
#embed "assets/templates/import.mustache"
};
static const unsigned char template_logrow[] = {
#embed "assets/templates/logrow.mustache"
};
static const unsigned char template_logtail[] = {
#embed "assets/templates/logtail.mustache"
};
static const unsigned char template_panel[] = {
#embed "assets/templates/panel.mustache"
};
static const unsigned char template_panelbody[] = {
#embed "assets/templates/panelbody.mustache"
};
static const unsigned char template_sendhere[] = {
#embed "assets/templates/sendhere.mustache"
};
static const unsigned char template_servicegraph[] = {
#embed "assets/templates/servicegraph.mustache"
};
static const unsigned char template_telemetry[] = {
#embed "assets/templates/telemetry.mustache"
};
static const unsigned char template_timebar[] = {
#embed "assets/templates/timebar.mustache"
};
static const unsigned char template_timefields[] = {
#embed "assets/templates/timefields.mustache"
};
static const unsigned char template_trace[] = {
#embed "assets/templates/trace.mustache"
};
static const unsigned char template_tracetable[] = {
#embed "assets/templates/tracetable.mustache"
};

static const struct vagus_asset table[] = {
    {"app.css", app_css, sizeof app_css},
    {"app.js", app_js, sizeof app_js},
    {"icons.svg", icons_svg, sizeof icons_svg},
    {"favicon.svg", favicon_svg, sizeof favicon_svg},
    {"action.mustache", template_action, sizeof template_action},
    {"approvals.mustache", template_approvals, sizeof template_approvals},
    {"badge.mustache", template_badge, sizeof template_badge},
    {"calendar.mustache", template_calendar, sizeof template_calendar},
    {"dataset.mustache", template_dataset, sizeof template_dataset},
    {"datasets.mustache", template_datasets, sizeof template_datasets},
    {"dora.mustache", template_dora, sizeof template_dora},
    {"doracard.mustache", template_doracard, sizeof template_doracard},
    {"elapsed.mustache", template_elapsed, sizeof template_elapsed},
    {"empty.mustache", template_empty, sizeof template_empty},
    {"events.mustache", template_events, sizeof template_events},
    {"experiments.mustache", template_experiments, sizeof template_experiments},
    {"experiment.mustache", template_experiment, sizeof template_experiment},
    {"trackedrun.mustache", template_trackedrun, sizeof template_trackedrun},
    {"compareruns.mustache", template_compareruns, sizeof template_compareruns},
    {"curvefields.mustache", template_curvefields, sizeof template_curvefields},
    {"facts.mustache", template_facts, sizeof template_facts},
    {"figure.mustache", template_figure, sizeof template_figure},
    {"gate.mustache", template_gate, sizeof template_gate},
    {"head.mustache", template_head, sizeof template_head},
    {"layout.mustache", template_layout, sizeof template_layout},
    {"login.mustache", template_login, sizeof template_login},
    {"loglines.mustache", template_loglines, sizeof template_loglines},
    {"model.mustache", template_model, sizeof template_model},
    {"models.mustache", template_models, sizeof template_models},
    {"modelversion.mustache", template_modelversion, sizeof template_modelversion},
    {"monitor.mustache", template_monitor, sizeof template_monitor},
    {"monitors.mustache", template_monitors, sizeof template_monitors},
    {"nav.mustache", template_nav, sizeof template_nav},
    {"notice.mustache", template_notice, sizeof template_notice},
    {"overview.mustache", template_overview, sizeof template_overview},
    {"pipeline.mustache", template_pipeline, sizeof template_pipeline},
    {"testlist.mustache", template_testlist, sizeof template_testlist},
    {"pipelines.mustache", template_pipelines, sizeof template_pipelines},
    {"problem.mustache", template_problem, sizeof template_problem},
    {"queue.mustache", template_queue, sizeof template_queue},
    {"resource.mustache", template_resource, sizeof template_resource},
    {"resources.mustache", template_resources, sizeof template_resources},
    {"run.mustache", template_run, sizeof template_run},
    {"runners.mustache", template_runners, sizeof template_runners},
    {"runs.mustache", template_runs, sizeof template_runs},
    {"runtable.mustache", template_runtable, sizeof template_runtable},
    {"service.mustache", template_service, sizeof template_service},
    {"services.mustache", template_services, sizeof template_services},
    {"status.mustache", template_status, sizeof template_status},
    {"tabs.mustache", template_tabs, sizeof template_tabs},
    {"toneicon.mustache", template_toneicon, sizeof template_toneicon},
    {"when.mustache", template_when, sizeof template_when},
    {"dashboard.mustache", template_dashboard, sizeof template_dashboard},
    {"dashboards.mustache", template_dashboards, sizeof template_dashboards},
    {"explore.mustache", template_explore, sizeof template_explore},
    {"explorelogs.mustache", template_explorelogs, sizeof template_explorelogs},
    {"exploretraces.mustache", template_exploretraces, sizeof template_exploretraces},
    {"graph.mustache", template_graph, sizeof template_graph},
    {"import.mustache", template_import, sizeof template_import},
    {"logrow.mustache", template_logrow, sizeof template_logrow},
    {"logtail.mustache", template_logtail, sizeof template_logtail},
    {"panel.mustache", template_panel, sizeof template_panel},
    {"panelbody.mustache", template_panelbody, sizeof template_panelbody},
    {"sendhere.mustache", template_sendhere, sizeof template_sendhere},
    {"servicegraph.mustache", template_servicegraph, sizeof template_servicegraph},
    {"telemetry.mustache", template_telemetry, sizeof template_telemetry},
    {"timebar.mustache", template_timebar, sizeof template_timebar},
    {"timefields.mustache", template_timefields, sizeof template_timefields},
    {"trace.mustache", template_trace, sizeof template_trace},
    {"tracetable.mustache", template_tracetable, sizeof template_tracetable},
};

size_t vagus_asset_count(void) { return sizeof table / sizeof table[0]; }

struct vagus_asset vagus_asset(size_t index) {
    size_t last = vagus_asset_count() - 1;
    return table[index < last ? index : last];
}

//! One HTML page for a run: a table of its scenarios, and for each what clients, nodes and faults did over time.
//!
//! The page needs nothing else: no network, no other file. What is too much to draw is counted here, not in the
//! browser.
//!
//! | file | what it is |
//! |---|---|
//! | `run` | [`Run`]: all scenarios of a page |
//! | `scenario` | [`Scenario`]: one history and its judgement, reduced to what is shown |
//! | `calls`, `faults`, `nodes`, `load`, `lanes` | what a history says of each, as it is drawn |
//! | `summary` | its numbers |
//! | `timeline` | the data of the timeline |
//! | `table`, `section`, `strips` | the parts of the page |
//! | `page` | [`page`]: the whole |
//! | `page.css`, `page.js`, `timeline.js`, `draw.js`, `lanes.js` | what the browser does |
//! | `escape`, `people` | how texts and numbers are written |

mod calls;
mod escape;
mod faults;
mod from_history;
mod lanes;
mod load;
mod nodes;
mod page;
mod people;
mod run;
mod scenario;
mod section;
mod strips;
mod summary;
mod table;
mod timeline;

pub use from_history::from_history;
pub use page::page;
pub use run::Run;
pub use scenario::Scenario;

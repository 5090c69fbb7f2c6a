//! What is meant: which line, which roles of it, and how many steps at once.

use std::num::NonZero;
use std::str::FromStr;

use builder::base::name::{LineName, RoleName};
use builder::base::{Fault, Result};
use builder::build::planner::BuildTarget;
use builder::dist::repository::COMPONENTS;
use builder::host::checkout::Project;
use clap::Args;

use crate::context::Context;

/// A line, as an argument.
#[derive(Args)]
pub(crate) struct LineArg {
    /// The line [default: the site's].
    line: Option<LineName>,
}

impl LineArg {
    /// The line that was named, or the site's.
    pub(crate) fn of(&self, project: &Project) -> Result<LineName> {
        line(self.line.as_ref(), project)
    }
}

/// A line, as an option.
#[derive(Args)]
pub(crate) struct LineOption {
    /// The line [default: the site's].
    #[arg(long, global = true)]
    line: Option<LineName>,
}

impl LineOption {
    /// The line that was named, or the site's.
    pub(crate) fn of(&self, project: &Project) -> Result<LineName> {
        line(self.line.as_ref(), project)
    }
}

fn line(named: Option<&LineName>, project: &Project) -> Result<LineName> {
    named.cloned().map_or_else(|| project.default_line(), Ok)
}

/// What of a line is meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Selection {
    /// All roles, and the packages of components.
    All,
    /// The packages of components.
    Components,
    /// One role.
    Role(RoleName),
}

impl FromStr for Selection {
    type Err = Fault;
    fn from_str(text: &str) -> Result<Self> {
        Ok(match text {
            "all" => Self::All,
            COMPONENTS => Self::Components,
            name => Self::Role(RoleName::new(name)?),
        })
    }
}

/// Which roles of which line: what the verbs that plan have in common.
#[derive(Args)]
pub(crate) struct Target {
    /// `master`, `node`, or `all` roles; `build` and `check` take `components` too, which `all` includes.
    role: Selection,
    #[command(flatten)]
    line: LineOption,
}

impl Target {
    /// Whether packages of components are meant.
    pub(crate) fn has_components(&self) -> bool {
        matches!(self.role, Selection::All | Selection::Components)
    }

    /// Whether roles are meant.
    pub(crate) fn has_roles(&self) -> bool {
        self.role != Selection::Components
    }

    /// The line that was named, or the site's.
    pub(crate) fn line(&self, project: &Project) -> Result<LineName> {
        self.line.of(project)
    }

    /// One order a role.
    pub(crate) fn targets(&self, context: &Context) -> Result<Vec<BuildTarget>> {
        let project = context.project()?;
        let line = self.line(project)?;
        let recipe = project.recipe(&line)?;
        let roles: Vec<RoleName> = match &self.role {
            Selection::All => recipe.roles.keys().cloned().collect(),
            Selection::Components => vec![recipe.role(COMPONENTS)?.name.clone()],
            Selection::Role(name) => vec![recipe.role(name.as_str())?.name.clone()],
        };
        let toolchain = context.toolchain();
        let target = |role| BuildTarget {
            project: project.clone(),
            line: line.clone(),
            role,
            toolchain: toolchain.clone(),
        };
        Ok(roles.into_iter().map(target).collect())
    }
}

/// One role of which line: what the verbs of disks have in common.
#[derive(Args)]
pub(crate) struct Choice {
    /// The role.
    role: RoleName,
    #[command(flatten)]
    line: LineOption,
}

impl Choice {
    /// The role of the line that was named, or of the site's.
    pub(crate) fn target(self, context: &Context) -> Result<BuildTarget> {
        let project = context.project()?.clone();
        let line = self.line.of(&project)?;
        Ok(BuildTarget { project, line, role: self.role, toolchain: context.toolchain() })
    }
}

/// How many steps at once.
#[derive(Args, Clone, Copy, Default)]
pub(crate) struct Jobs {
    /// How many steps at once [default: one a core].
    #[arg(long)]
    jobs: Option<NonZero<usize>>,
}

impl Jobs {
    /// As many as were asked for, or one a core.
    pub(crate) fn count(self) -> NonZero<usize> {
        let cores = || std::thread::available_parallelism().ok();
        self.jobs.or_else(cores).unwrap_or(NonZero::<usize>::MIN)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selection_is_read_as_it_is_meant() {
        let role = Selection::Role(RoleName::new("master").unwrap());
        for (text, expect) in
            [("all", Selection::All), ("components", Selection::Components), ("master", role)]
        {
            assert_eq!(text.parse::<Selection>().unwrap(), expect);
        }
        assert!("../master".parse::<Selection>().is_err());
    }
}

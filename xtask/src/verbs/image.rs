//! `cargo xtask image ROLE`: a disk that boots as a machine of the role.

use std::path::PathBuf;
use std::time::Instant;

use builder::base::name::RoleName;
use builder::base::{Fault, Result};
use builder::build::executor::{BuildResults, StepResult};
use builder::build::planner::BuildTarget;
use builder::build::planner::system::{self, DiskPlan, LeftOut};
use builder::dist::disk_image;
use builder::host::overwrite::{Form, Overwrite};
use builder::plan::{DiskFormat, Output, Plan, StepId};
use builder::store::Store;
use clap::Args;
use serde::Serialize;

use crate::context::Context;
use crate::disks;
use crate::run;
use crate::target::{Choice, Jobs};
use crate::ui::table;

/// Arguments of `image`.
#[derive(Args)]
pub(crate) struct Image {
    #[command(flatten)]
    choice: Choice,
    /// Make another form too: qcow2, zstd; may be given again.
    #[arg(long, value_name = "FORMAT")]
    format: Vec<DiskFormat>,
    /// Make an image that is no node: without the packages whose dependencies are not here.
    #[arg(long)]
    without_components: bool,
    #[command(flatten)]
    jobs: Jobs,
}

/// What making an image tells.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct ImageReport {
    role: RoleName,
    images: Vec<WrittenImage>,
    debian: usize,
    own: usize,
    left_out: LeftOut,
    steps: usize,
    made: usize,
    seconds: f64,
    peak_memory: u64,
}

/// One form of the disk.
#[derive(Serialize)]
struct WrittenImage {
    path: PathBuf,
    bytes: u64,
    digest: String,
}

impl Image {
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let (start, target) = (Instant::now(), self.choice.target(context)?);
        let formats: Vec<_> = [DiskFormat::Raw].into_iter().chain(self.format).collect();
        for format in &formats {
            Form::Disk(*format).check(&disks::image_path(&target, *format)?, Overwrite::Own)?;
        }
        let store = Store::open(&context.store)?;
        let mut planned = system::plan(&target, &store)?;
        if !planned.left_out.is_empty() && !self.without_components {
            return Err(refusal(&planned.left_out));
        }
        let mut forms = Vec::new();
        for format in formats {
            let raw = format == DiskFormat::Raw;
            forms.push((format, if raw { planned.disk } else { planned.convert(format)? }));
        }
        let built = run::realise(context, &store, &planned.plan, self.jobs)?;
        let image = |(format, step)| publish(&target, &store, &planned.plan, &built, format, step);
        let images = forms.into_iter().map(image);
        let images = images.collect::<Result<Vec<_>>>()?;
        let made = built.values().filter(|(_, way)| *way == StepResult::Built).count();
        let DiskPlan { debian, own, left_out, .. } = planned;
        let (role, steps, seconds) = (target.role, built.len(), start.elapsed().as_secs_f64());
        let peak_memory = run::peak_memory();
        ImageReport { role, images, debian, own, left_out, steps, made, seconds, peak_memory }.show(context)
    }
}

/// Gives one form of the disk its name in `dist/images`, unless it has it already.
fn publish(
    target: &BuildTarget,
    store: &Store,
    plan: &Plan,
    built: &BuildResults,
    format: DiskFormat,
    step: StepId,
) -> Result<WrittenImage> {
    let output = built.get(&step).map(|(output, _)| *output);
    let Some(output @ Output::Blob { content, size }) = output else {
        return Err(Fault::bug("a disk is one file"));
    };
    let path = disks::image_path(target, format)?;
    disk_image::publish(store, &content, &path)?;
    disk_image::keep(store, &path, output, plan)?;
    Ok(WrittenImage { path, bytes: size, digest: content.to_string() })
}

impl ImageReport {
    fn show(&self, context: &Context) -> Result<()> {
        if context.json {
            return table::json(self);
        }
        for (name, lacks) in &self.left_out {
            println!("LEFT OUT: {name}, which needs {}", lacks.join(", "));
        }
        if !self.left_out.is_empty() {
            println!("This is no {}: it boots, and nothing more.", self.role);
        }
        for image in &self.images {
            println!("{}: {}, {}", image.path.display(), table::bytes(image.bytes), image.digest);
        }
        println!(
            "{}: {} packages of Debian, {} of ours; {} of {} steps made, {:.2} s",
            self.role, self.debian, self.own, self.made, self.steps, self.seconds
        );
        Ok(())
    }
}

fn refusal(left_out: &LeftOut) -> Fault {
    let mut fault = Fault::user("packages of the role cannot be installed: what they depend on is not here");
    for (name, lacks) in left_out {
        fault = fault.cause(format!("{name} wants {}", lacks.join(", ")));
    }
    fault.help("cargo xtask fetch; or give --without-components")
}

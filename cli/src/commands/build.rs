//! `kiln build`.
use anyhow::Result;
use crate::args::BuildArgs;
use crate::build::{self, Backends};
use crate::exit::Exit;
use crate::settings::{BuildSettings, Environment};
use std::sync::Arc;
struct P;
impl kiln_solver::Progress for P { fn report(&self, e: kiln_solver::Event) { 
 match e.kind { kiln_solver::EventKind::Log{bytes,..} => eprint!("{}", String::from_utf8_lossy(&bytes)), k => eprintln!("{:?} {:?}", e.step, k) } } }
/// x
pub fn run(args: BuildArgs, root: std::path::PathBuf) -> Result<Exit> {
    let settings = BuildSettings::resolve(args, &Environment::of_this_process())?;
    let rt = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    rt.block_on(async move {
        let store = kiln_worker::store::Store::open(&root)?;
        let backends = Backends { store: store.clone(), images: Arc::new(kiln_worker::image::Images::new(store, Default::default())), parallel_steps: 16 };
        let reporter = kiln_solver::Reporter::new(Arc::new(P));
        match build::build(&settings, &backends, &reporter, &mut |_s, d| for d in d { eprintln!("warn {d}") }).await {
            Ok(b) => println!("{}", String::from_utf8_lossy(&b.config)),
            Err(build::BuildError::Dockerfile{diagnostics,..}) => for d in diagnostics { eprintln!("{d}") },
            Err(e) => return Err(e.into()),
        }
        Ok(Exit::Done)
    })
}

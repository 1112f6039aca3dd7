use kiln_worker::sandbox::*;
fn main() {
    run_if_helper();
    enter_user_namespace_if_needed().unwrap();
    let base = std::env::args().nth(1).unwrap();
    let t = std::path::PathBuf::from(&base);
    let _ = std::fs::remove_dir_all(t.join("u"));
    let _ = std::fs::remove_dir_all(t.join("w"));
    for d in ["u", "w"] {
        std::fs::create_dir_all(t.join(d)).unwrap();
    }
    let n: usize = std::env::args().nth(2).unwrap().parse().unwrap();
    let spec = Spec::new(
        Overlay {
            layers: vec![t.join("debian")],
            writable: Some(Writable {
                upper: t.join("u"),
                work: t.join("w"),
            }),
        },
        std::env::args().skip(3),
    );
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let s = Sandbox::default();
            for _ in 0..n {
                let _ = std::fs::remove_dir_all(t.join("u"));
                let _ = std::fs::remove_dir_all(t.join("w"));
                for d in ["u", "w"] {
                    std::fs::create_dir_all(t.join(d)).unwrap();
                }
                let now = std::time::Instant::now();
                let o = s
                    .run(
                        &spec,
                        |_, b| {
                            use std::io::Write;
                            std::io::stdout().write_all(b).unwrap();
                        },
                        std::future::pending(),
                    )
                    .await;
                match o {
                    Ok(o) => println!("{o:?} {:?}", now.elapsed()),
                    Err(e) => println!("ERR {e} {e:?}"),
                }
            }
        });
}

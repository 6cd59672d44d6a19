//! The table of symbols through which a vendor library is called.

/// Defines a struct with one function pointer a symbol and `load`, which opens a library and fills the table.
///
/// `load` names the file, and the symbol where one is missing. The library stays loaded for the life of the process:
/// its threads may outlive every object made through it.
///
/// The functions are C++ inside and can throw (LiteRT does, on some damaged models). `C-unwind` makes that an abort of
/// the worker instead of undefined behaviour.
macro_rules! symbol_table {
    (
        $(#[$attribute:meta])*
        struct $table:ident for $library:literal, $version:literal {
            $($field:ident = $symbol:literal: fn($($argument:ty),* $(,)?) $(-> $result:ty)?;)+
        }
    ) => {
        $(#[$attribute])*
        pub(super) struct $table {
            $(pub(super) $field: unsafe extern "C-unwind" fn($($argument),*) $(-> $result)?,)+
        }

        impl $table {
            /// Loads `file` and looks up every symbol.
            pub(super) fn load(file: &std::path::Path) -> $crate::error::Result<Self> {
                use libloading::os::unix::{Library, RTLD_LAZY, RTLD_LOCAL};

                // SAFETY: loading runs the library's initialisers. The file was found by the search for this library
                // or named by the user, who vouches for it; the process is a worker that holds nothing else.
                let library = unsafe { Library::open(Some(file), RTLD_LAZY | RTLD_LOCAL) }.map_err(|error| {
                    $crate::error::Error::missing(format!(concat!("cannot load ", $library, " from `{}`"), file.display()))
                        .because(error)
                        .hint("`trtgate doctor` lists what was found and where")
                })?;
                let table = Self {
                    $($field: {
                        // SAFETY: the type is the one that the library's header declares for this symbol in the
                        // versions that the search lets through.
                        let symbol = unsafe {
                            library.get::<unsafe extern "C-unwind" fn($($argument),*) $(-> $result)?>($symbol.as_bytes())
                        };
                        *symbol.map_err(|error| {
                            $crate::error::Error::missing(format!("`{}` has no symbol `{}`", file.display(), $symbol))
                                .because(error)
                                .hint(concat!("trtgate needs ", $library, " ", $version))
                        })?
                    },)+
                };
                // The pointers must not outlive the mapping, so it is never given back.
                std::mem::forget(library);
                Ok(table)
            }
        }
    };
}

pub(crate) use symbol_table;

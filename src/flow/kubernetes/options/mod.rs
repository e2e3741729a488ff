//! The options of Kubernetes' programs.

#[cfg(test)]
mod rendered;
#[cfg(test)]
mod tests;
